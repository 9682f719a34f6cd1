// What the report states, a chip each: findings in three statuses, told apart by sign and line, not by colour alone.

import { byId, make, slicer } from "./dom.js";

const STATUSES = ["present", "uncertain", "absent"]; // what is there comes first: of the rest there is always more

/** "left upper and mid", or nothing. */
export function placeOf({ side, zones }) {
  return [side, zones.join(" and ")].filter(Boolean).join(" ");
}

/** "nodule, left upper", "nodule?, left upper", "no pneumothorax", "pleural effusion, right (larger)". */
export function findingTitle(finding) {
  const { name, status, change } = finding;
  const called = { present: name, uncertain: `${name}?`, absent: `no ${name}` }[status];
  const place = placeOf(finding);
  return `${called}${place ? `, ${place}` : ""}${change ? ` (${change})` : ""}`;
}

/** On one line. */
function inline(text) {
  return text.trim().replaceAll(/\s+/g, " ");
}

/** The first letter small, unless an acronym begins with it. */
function lowered(text) {
  return /^\p{Lu}(?!\p{Lu})/u.test(text) ? text[0].toLowerCase() + text.slice(1) : text;
}

/** "hedged: may represent" of a finding that is uncertain, or "". */
function hedging({ status, hedge }, slice) {
  if (status !== "uncertain") return "";
  return hedge === null ? "hedged" : `hedged: ${inline(slice(...hedge))}`;
}

function statement(findings, slice) {
  const [first] = findings;
  const about = { findings, status: first.status, section: first.section, hedge: hedging(first, slice) };
  if (findings.length === 1) return { ...about, title: findingTitle(first), subject: findingTitle(first) };
  const told = lowered(inline(slice(first.start, first.end)));
  const sides = new Set(findings.map(({ side }) => side));
  const [side] = sides.size === 1 ? sides : [null];
  const subject = ["left", "right"].includes(side) && !told.includes(side) ? `${told}, ${side}` : told; // of the heading
  const denied = findings.map(({ name }) => `no ${name}`).join(", ");
  return { ...about, title: `${subject}: ${denied}`, subject };
}

/**
 * [{ findings, status, section, hedge, title, subject }], present ones first. Absences that one normal statement tells
 * ("the lungs are clear") are one. hedge: "hedged: may represent" or "". subject: a title that is short.
 */
export function statements({ findings, text }) {
  const slice = slicer(text);
  const groups = new Map();
  for (const finding of findings) {
    const key = finding.status === "absent" ? `${finding.start}-${finding.end}` : finding.index;
    groups.set(key, [...groups.get(key) ?? [], finding]);
  }
  return [...groups.values()].map((members) => statement(members, slice))
    .sort((one, other) => STATUSES.indexOf(one.status) - STATUSES.indexOf(other.status));
}

/** The statement that finding `index` belongs to. */
export function statementOf(report, index) {
  return statements(report).find(({ findings }) => findings.some((finding) => finding.index === index));
}

/** Mark the words (nodes by index) that name findings, each by the first of its statuses, and those that hedge. */
export function markWords(report, nodes) {
  for (const { findings: [finding], status, hedge, title } of statements(report)) {
    for (const index of finding.word_indices) {
      const node = nodes[index];
      if (!node.classList.contains("mi-finding")) node.classList.add("mi-finding", `mi-${status}`);
      node.title = [title, hedge, node.title].filter(Boolean).join("\n");
    }
    for (const word of wordsWithin(report, finding.hedge)) nodes[word.index].classList.add("mi-hedge");
  }
}

function wordsWithin({ words }, span) {
  return span === null ? [] : words.filter((word) => word.start < span[1] && word.end > span[0]);
}

/** A selection of the words that a mention is made of. */
function wordsOf({ word_indices: indices }) {
  return { kind: "words", first: Math.min(...indices), last: Math.max(...indices) };
}

/** Chips for what is stated, and under them, quietly, what is only named. onSelect takes a selection as in report.js. */
export class Findings {
  constructor(onSelect) {
    this.onSelect = onSelect;
    this.host = byId("findings");
    this.named = byId("mentions");
    this.clear();
  }

  clear() {
    this.marks = []; // [node, whether a selection is the node's]
    for (const host of [this.host, this.named]) {
      host.replaceChildren();
      host.hidden = true;
    }
  }

  show(report) {
    this.clear();
    const told = statements(report);
    const titles = told.map(({ title }) => title);
    const twin = (title) => titles.indexOf(title) !== titles.lastIndexOf(title); // the impression repeats what was written before
    this.host.append(...told.map((one) =>
      this.chip(one, twin(one.title) && one.section ? `${one.title} (${one.section})` : one.title)));
    this.host.hidden = told.length === 0;
    this.showMentions(report.mentions);
  }

  chip({ findings, status, section, hedge }, title) {
    const indices = findings.map(({ index }) => index);
    const chip = this.button(title, {
      class: `mi-chip mi-${status}`,
      "data-finding-index": indices[0],
      title: [hedge, section ? `In ${section}` : ""].filter(Boolean).join("\n") || false,
    }, { kind: "finding", index: indices[0] });
    this.marks.push([chip, (selection) => selection?.kind === "finding" && indices.includes(selection.index)]);
    return chip;
  }

  showMentions(mentions) {
    this.named.hidden = mentions.length === 0;
    this.named.append("Also named: ", ...mentions.flatMap((mention, at) => [at ? ", " : "", this.mention(mention)]));
  }

  mention(mention) {
    const own = wordsOf(mention);
    const node = this.button(`${mention.name} (${mention.role})`, {
      class: "mi-mention",
      "data-mention-index": mention.index,
      title: `Named, but not said of this film${mention.section ? `\nIn ${mention.section}` : ""}`,
    }, own);
    this.marks.push([node, (selection) =>
      selection?.kind === "words" && selection.first === own.first && selection.last === own.last]);
    return node;
  }

  button(text, attributes, selection) {
    const node = make("button", { type: "button", "aria-pressed": "false", ...attributes }, text);
    node.addEventListener("click", () => this.onSelect(selection));
    return node;
  }

  mark(selection) {
    for (const [node, isOf] of this.marks) node.setAttribute("aria-pressed", String(isOf(selection)));
  }
}
