// A comparison in words and numbers: what held, a row for each variant, and what each number says.

/** @import { Child, FindingChange, MapShift, Margin, Method, Perturbation, QuestionCompared, ReportCompared, Said, Variant } from "./types" */
/**
 * Names and titles of the methods, and the changes of the film as the service offers them.
 * @typedef {{ titles: [string, string][], perturbations: Perturbation[] }} Known
 */

import { fixed, make, nats, percent, words } from "./dom.js";
import { placeOf } from "./findings.js";
import { spoken } from "./thinking.js";
import { verdictNodes } from "./verdict.js";

/** @type {Record<FindingChange["change"] | "changed", string>} */
const CHANGES = { same: "= same", changed: "≠ changed", moved: "↔ moved", hedged: "? hedged", affirmed: "! affirmed",
  gone: "− gone", new: "+ new" };

/**
 * "1 of 3 paraphrases".
 * @param {number} count
 * @param {number} of
 * @param {string} one
 */
function share(count, of, one) {
  return `${count} of ${of} ${one}${of === 1 ? "" : "s"}`;
}

// Roles are written out: where the rows stand as blocks (a narrow window) they would not be a table's any more.
/** @param {Child[]} cells */
function row(...cells) {
  return make("tr", { role: "row" }, ...cells);
}

/**
 * @param {string} label
 * @param {Child[]} content
 */
function cell(label, ...content) {
  return make("td", { role: "cell", "data-label": label }, ...content);
}

/**
 * @param {string} text
 * @param {string} more
 */
function quiet(text, more = "") {
  return make("span", { class: `mi-quiet mi-under ${more}` }, text);
}

/** @param {Child[]} content */
function rowHead(...content) {
  return make("th", { role: "rowheader", scope: "row" }, ...content);
}

/**
 * @param {number} columns
 * @param {Child[]} content
 */
function group(columns, ...content) {
  return row(make("th", { role: "rowheader", scope: "rowgroup", colspan: columns, class: "mi-group" }, ...content));
}

/** @param {keyof typeof CHANGES} change */
function badge(change) {
  return make("span", { class: `mi-change mi-change-${change}` }, CHANGES[change]);
}

/**
 * How far a method's map moved, with a bar from 0 to 1 bit.
 * @param {string} title
 * @param {MapShift | undefined} shift
 */
function shiftCell(title, shift) {
  if (shift === undefined) return cell(title, "–");
  if (shift.bits === null) return cell(title, "–", quiet("no map to compare"));
  const bar = make("span", { class: "mi-shift", "aria-hidden": "true" });
  bar.style.setProperty("--mi-share", shift.bits.toFixed(4));
  return cell(title, `${shift.bits.toFixed(3)}${shift.other_answer ? " *" : ""}`, bar,
    shift.kept !== null && isCut(shift) ? quiet(`${percent(shift.kept)} of it left`) : null);
}

/**
 * @param {string} caption
 * @param {string[]} head
 * @param {Node[][]} bodies
 */
function table(caption, head, bodies) {
  return make("div", { class: "mi-variants" }, make("table", { class: "mi-scores mi-comparison", id: "medinterp-variants", role: "table" },
    make("caption", {}, caption),
    make("thead", { role: "rowgroup" }, row(...head.map((name) => (name
      ? make("th", { role: "columnheader", scope: "col" }, name) : make("td", { role: "cell" }))))), // nothing to be read out
    ...bodies.map((rows) => make("tbody", { role: "rowgroup" }, ...rows))));
}

/**
 * What the numbers say: [[term, sentence]].
 * @param {string[][]} entries
 */
function key(entries) {
  return make("dl", { class: "mi-key-list", id: "medinterp-comparison-key" }, ...entries.flatMap(([term, sentence]) =>
    [make("dt", {}, term), make("dd", {}, sentence)]));
}

/**
 * @param {boolean} held
 * @param {string} title
 * @param {string} sentence
 */
function verdict(held, title, sentence) {
  return make("div", { class: "mi-verdict", id: "medinterp-compared", role: "status", tabindex: "-1",
    "data-verdict": held ? "region" : "picture" }, ...verdictNodes(held ? "region" : "picture", title, sentence));
}

const BITS = "How far it moved: Jensen-Shannon divergence in bits of both maps, each made to sum to 1 over its cells; 0 is the "
  + "same map, 1 none of it in common.";
const OTHER_ANSWER = "This map belongs to another answer, so that it says little that it moved.";

/**
 * Whether a map's share on the changed film is told.
 * @param {MapShift} shift
 */
function isCut(shift) {
  return shift.kept !== null && shift.kept < 0.995;
}

/** @param {MapShift[]} shifts */
function cropKeys(shifts) {
  return shifts.some(isCut) ? [["Left", "The share of the map that lies on what the changed film still shows; only that is compared."]] : [];
}

/** @param {MapShift[]} shifts */
function shiftKeys(shifts) {
  if (shifts.length === 0) return [];
  return [["Map", BITS], ...(shifts.some((shift) => shift.other_answer) ? [["*", OTHER_ANSWER]] : [])];
}

/**
 * A token in quotes; the end of an answer has no text.
 * @param {string} text
 */
function token(text) {
  return text === "(end)" ? "the end" : `“${text.trim()}”`;
}

/**
 * A margin, its change (null: there is none), and between which two tokens it is.
 * @param {Margin} margin
 * @param {number | null} change
 */
function marginCell(margin, change) {
  const [first, second] = margin.nats < 0 ? [margin.rival, margin.token] : [margin.token, margin.rival];
  return cell("Margin", fixed(margin.nats, 2), change === null ? null : quiet(`change ${nats(change)}`, "mi-under-margin"),
    quiet(`${token(first)} over ${token(second)}`, "mi-under-margin"));
}

/**
 * A change of the film as the service offers it; undefined for a paraphrase.
 * @param {Perturbation[]} perturbations
 * @param {string} name
 */
function named(perturbations, name) {
  return perturbations.find((one) => one.name === name);
}

/**
 * @param {QuestionCompared} result
 * @param {Known} known
 */
function questionNodes(result, { titles, perturbations }) {
  const reworded = result.variants.filter((one) => one.name === "paraphrase");
  const films = result.variants.filter((one) => one.name !== "paraphrase");
  const kept = (/** @type {Variant[]} */ variants) => variants.filter((one) => !one.changed).length;
  const held = kept(result.variants) === result.variants.length;
  const answer = spoken(result.answer);
  const parts = [
    reworded.length ? `to ${share(kept(reworded), reworded.length, "paraphrase")} (consistency ${fixed(100 * (result.consistency ?? 0), 0)} %)` : null,
    films.length ? `on ${share(kept(films), films.length, "changed film")}` : null,
  ].filter(Boolean);
  const title = `The answer ${held ? "holds" : "does not always hold"}: “${answer}”`;
  const sentence = parts.length ? `The same answer ${parts.join(", and ")}.` : "There was no variant to compare it with.";

  const shiftCells = (/** @type {MapShift[]} */ shifts) => titles.map(([method, name]) =>
    shiftCell(name, shifts.find((shift) => shift.method === method)));
  const variantRow = (/** @type {Variant} */ one) => {
    const change = named(perturbations, one.name);
    /** @type {Child[]} */
    const head = change ? [words(one.name), quiet(change.meaning)] : [`“${one.question}”`];
    if (change && one.question !== result.question) head.push(quiet(`asked: “${one.question}”`));
    return row(rowHead(...head), cell("Answer", spoken(one.answer) || "(nothing)"), cell("", badge(one.changed ? "changed" : "same")),
      marginCell(one.margin, one.margin_change), ...shiftCells(one.shifts));
  };
  const head = ["", "Answer", "", "Margin, nats", ...titles.map(([, name]) => `${name}, bits`)];
  const bodies = [
    [row(rowHead(`“${result.question}”`, quiet("the question, on the film as it is")), cell("Answer", answer),
      cell("", ""), marginCell(result.margin, null), ...titles.map(([, name]) => cell(name, "")))],
    reworded.length ? [group(head.length, "In other words"), ...reworded.map(variantRow)] : null,
    films.length ? [group(head.length, "On changed films"), ...films.map(variantRow)] : null,
  ].filter((body) => body !== null);
  const mirrored = films.some((one) => named(perturbations, one.name)?.mirrors);
  return [
    verdict(held, title, sentence),
    table("The question and its variants", head, bodies),
    key([
      ["Same", "Both answers say yes, both say no, or they have the same words."],
      ...(reworded.length ? [["Consistency", "The share of paraphrases that get the same answer as the question."]] : []),
      ["Margin", "How firmly the first answer would be given again: its log-odds against the likeliest other word, where they "
        + "are nearest; 3 nats are odds of 20 to 1, and below 0 the model answers otherwise. Below it the change, and the two "
        + "tokens, which may be parts of words."],
      ...shiftKeys(result.variants.flatMap((one) => one.shifts)),
      ...cropKeys(result.variants.flatMap((one) => one.shifts)),
      ...(mirrored ? [["Flip", "Left and right of question and answer are exchanged too, and the map is mirrored back."]] : []),
    ]),
  ];
}

/**
 * "left upper", "present" without a place, "uncertain, left upper", or a dash.
 * @param {Said | null} said
 */
function saidOf(said) {
  if (said === null) return "–";
  const place = placeOf(said);
  return said.status === "present" ? place || "present" : `uncertain${place ? `, ${place}` : ""}`;
}

/**
 * @param {ReportCompared} result
 * @param {Known} known
 */
function reportNodes(result, { titles, perturbations }) {
  const { variants } = result;
  const kept = variants.filter((one) => !one.changed).length;
  const held = kept === variants.length;
  const head = ["Finding", "On the film", "On the changed film", "", "log p, nats", ...titles.map(([, name]) => `${name}, bits`)];
  const tally = (/** @type {FindingChange[]} */ findings) => {
    if (findings.length === 0) return "no finding in either report";
    return Object.keys(CHANGES).map((change) => ({ change, count: findings.filter((one) => one.change === change).length }))
      .filter(({ count }) => count > 0).map(({ change, count }) => `${count} ${change}`).join(", ");
  };
  const findingRow = (/** @type {FindingChange} */ one) => row(rowHead(one.name), cell("On the film", saidOf(one.before)),
    cell("On the changed film", saidOf(one.after)), cell("", badge(one.change)),
    cell("log p", one.logprob_change === null ? "–" : nats(one.logprob_change)),
    ...titles.map(([method, name]) => shiftCell(name, one.shifts.find((shift) => shift.method === method))));
  const bodies = variants.map((one) => [
    group(head.length, words(one.name), make("span", { class: "mi-quiet" }, ` ${named(perturbations, one.name)?.meaning ?? ""}`),
      make("span", { class: `mi-tally ${one.changed ? "mi-tally-changed" : ""}` }, tally(one.findings))),
    ...one.findings.map(findingRow),
    row(make("td", { role: "cell", colspan: head.length, class: "mi-its-report" },
      make("details", {}, make("summary", {}, "Its report"), make("p", {}, spoken(one.report) || "(nothing)")))),
  ]);
  const findings = variants.flatMap((one) => one.findings);
  return [
    verdict(held, held ? "The findings hold" : "The findings do not always hold",
      `The same findings, as certain, on the same side and in the same zones, on ${share(kept, variants.length, "changed film")}.`),
    table("What the reports say of each finding", head, bodies),
    key([
      ["Moved", "Both reports have the finding, affirmed or hedged, on another side or in other zones."],
      ["Hedged, affirmed", "At the same place: affirmed on the film as it is and hedged on the changed film, or the other way round."],
      ["Gone, new", "Only the report of the film as it is has it, or only that of the changed film."],
      ["log p", "How much likelier (above 0) or less likely the words that name the finding are on the changed film, in nats; "
        + "3 nats are 20 times."],
      ...shiftKeys(findings.flatMap((one) => one.shifts)),
      ...cropKeys(findings.flatMap((one) => one.shifts)),
      ...(variants.some((one) => named(perturbations, one.name)?.mirrors)
        ? [["Flip", "Sides are told as on the film as it is, and the map is mirrored back; log p cannot be compared."]] : []),
    ]),
  ];
}

/**
 * Nodes for an answer of /reports/{id}/sensitivity; the first one takes the focus. methods, perturbations: as offered.
 * @param {QuestionCompared | ReportCompared} result
 * @param {{ methods: Method[], perturbations: Perturbation[] }} offered
 */
export function comparison(result, { methods, perturbations }) {
  const titleOf = (/** @type {string} */ name) => methods.find((method) => method.name === name)?.title ?? name;
  /** @type {Known} */
  const known = { titles: result.methods.map((name) => [name, titleOf(name)]), perturbations };
  return result.kind === "question" ? questionNodes(result, known) : reportNodes(result, known);
}
