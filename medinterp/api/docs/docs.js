"use strict";
// Draws openapi.json: a section a tag, a block a call. Everything that comes from the document is set as text.

/** Make an element; strings become text. */
function made(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** What `backticks` of a description mark, as code. */
function prose(text) {
  return (text ?? "").split("`").map((part, n) => (n % 2 ? made("code", {}, part) : part));
}

function named(schema) {
  return schema.$ref.split("/").at(-1);
}

/** A schema in one line; names of the schema link to their fields. */
function kind(schema) {
  if (!schema) return [""];
  if (schema.$ref) return [made("a", { href: `#${named(schema)}` }, named(schema))];
  const options = schema.anyOf ?? schema.oneOf;
  if (options) {
    const told = options.filter((option) => option.type !== "null").map(kind);
    return told.flatMap((one, n) => (n ? [" or ", ...one] : one));
  }
  if (schema.enum) return [schema.enum.map((one) => JSON.stringify(one)).join(" | ")];
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  if (schema.type === "array") return ["[", ...kind(schema.items ?? {}), "]"];
  return [schema.contentMediaType || schema.format === "binary" ? "file" : (schema.title === "Array" ? "array" : (schema.type ?? "any"))];
}

function fallback(schema) {
  return schema?.default === undefined || schema.default === null ? [] : [" Default: ", made("code", {}, JSON.stringify(schema.default)), "."];
}

function table(heads, rows) {
  const head = made("tr", {}, ...heads.map((one) => made("th", { scope: "col" }, one)));
  const body = rows.map((cells) => made("tr", {}, ...cells.map((cell) => made("td", {}, ...cell))));
  return made("table", {}, made("thead", {}, head), made("tbody", {}, ...body));
}

/** The fields of a schema that has some. */
function fields(schema) {
  const required = new Set(schema.required ?? []);
  return table(["field", "type", ""], Object.entries(schema.properties ?? {}).map(([name, field]) => [
    [made("code", {}, name), required.has(name) ? " *" : ""], kind(field), [...prose(field.description), ...fallback(field)],
  ]));
}

function resolved(schema, schemas) {
  return schema?.$ref ? schemas[named(schema)] : schema;
}

function sent(operation, schemas) {
  const bodies = Object.entries(operation.requestBody?.content ?? {});
  return bodies.flatMap(([type, body]) => {
    const schema = resolved(body.schema, schemas);
    const example = body.example ? made("pre", {}, JSON.stringify(body.example, null, 2)) : null;
    return [made("h4", {}, `Sent as ${type}`), ...(schema?.properties ? [fields(schema)] : [made("p", {}, ...kind(body.schema))]), example];
  });
}

function answers(operation) {
  const rows = Object.entries(operation.responses).map(([code, answer]) => {
    const kinds = Object.entries(answer.content ?? {}).flatMap(([type, body], n) => [
      ...(n ? [made("br", {})] : []), made("code", {}, type), " ", ...kind(body.schema),
    ]);
    return [[made("code", {}, code === "default" ? "4xx, 5xx" : code)], kinds, prose(answer.description === "Successful Response" ? "" : answer.description)];
  });
  const example = Object.entries(operation.responses).filter(([code]) => code !== "default")
    .map(([, answer]) => answer.content?.["application/json"]?.example).find(Boolean);
  return [made("h4", {}, "Answers"), table(["status", "body", ""], rows), example ? made("pre", {}, JSON.stringify(example, null, 2)) : null];
}

function call(verb, path, operation, schemas) {
  const parameters = (operation.parameters ?? []).map((one) => [
    [made("code", {}, one.name), one.required ? " *" : ""], [`${one.in} `, ...kind(one.schema)], [...prose(one.description ?? one.schema?.description), ...fallback(one.schema)],
  ]);
  const samples = (operation["x-codeSamples"] ?? []).map((sample) => made("pre", {}, sample.source));
  const [first, ...rest] = (operation.description ?? operation.summary ?? "").split("\n\n");
  return made("details", { id: `${verb}-${path}`, "data-words": JSON.stringify([verb, path, operation]).toLowerCase() },
    made("summary", {}, made("span", { class: "verb" }, verb.toUpperCase()), made("code", {}, path), " ", made("span", { class: "soft" }, ...prose(first))),
    ...rest.map((one) => made("p", {}, ...prose(one))), ...samples,
    ...(parameters.length ? [made("h4", {}, "Parameters"), table(["name", "type", ""], parameters)] : []),
    ...sent(operation, schemas), ...answers(operation));
}

function draw(api) {
  const schemas = api.components.schemas, calls = document.getElementById("calls");
  document.getElementById("title").textContent = `The HTTP API of ${api.info.title}, version ${api.info.version}`;
  document.getElementById("about").append(...prose(api.info.description));
  const tags = new Map();
  for (const [path, verbs] of Object.entries(api.paths)) {
    for (const [verb, operation] of Object.entries(verbs)) {
      const tag = operation.tags?.[0] ?? "other";
      tags.set(tag, [...(tags.get(tag) ?? []), [verb, path, operation]]);
    }
  }
  const links = made("ul", {});
  for (const [tag, members] of tags) {
    calls.append(made("section", {}, made("h2", {}, tag), ...members.map((one) => call(...one, schemas))));
    links.append(...members.map(([verb, path]) => made("li", {}, made("a", { href: `#${verb}-${path}` }, made("span", { class: "verb" }, verb.toUpperCase()), path))));
  }
  document.getElementById("contents").append(links);
  calls.append(made("section", {}, made("h2", {}, "Schemas"), ...Object.entries(schemas).map(([name, schema]) =>
    made("details", { id: name, "data-words": JSON.stringify([name, schema]).toLowerCase() },
      made("summary", {}, made("code", {}, name), " ", made("span", { class: "soft" }, ...prose(schema.description))), fields(schema)))));
  calls.removeAttribute("aria-busy");
}

/** Open what the address names. */
function show() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named) {
    named.open = true;
    named.scrollIntoView();
  }
}

function find(event) {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const block of document.querySelectorAll("details")) {
    block.hidden = !words.every((word) => block.dataset.words.includes(word));
  }
}

fetch("openapi.json").then((answer) => {
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status}`);
  return answer.json();
}).then((api) => {
  draw(api);
  show();
  addEventListener("hashchange", show);
  document.getElementById("find").addEventListener("input", find);
}).catch((error) => {
  document.getElementById("calls").append(made("p", { role: "alert" }, `The document could not be read. ${error.message}`));
});
