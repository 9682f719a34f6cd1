// What the report states, a chip each: findings in three statuses, told apart by sign and line, not by colour alone.

/** @import { Attributes, Finding, Mention, Report, Selection, Slicer, Span, WordSelection } from "./types" */

/**
 * What is stated once: a finding, or all that one normal statement denies.
 * @typedef {{ findings: Finding[], status: Finding["status"], section: string | null, hedge: string, title: string, subject: string }} Statement
 * @typedef {{ title: string, status: Finding["status"], told: Statement[] }} Entry
 */

import { byId, make, press, slicer } from "./dom.js";

const STATUSES = ["present", "uncertain", "absent"]; // what is there comes first: of the rest there is always more

/**
 * "left upper and mid", or nothing.
 * @param {Pick<Finding, "side" | "zones">} finding
 */
export function placeOf({ side, zones }) {
  return [side, zones.join(" and ")].filter(Boolean).join(" ");
}

/**
 * "nodule, left upper", "nodule?, left upper", "no pneumothorax", "pleural effusion, right (larger)".
 * @param {Pick<Finding, "name" | "status" | "change" | "side" | "zones">} finding
 */
export function findingTitle(finding) {
  const { name, status, change } = finding;
  const called = { present: name, uncertain: `${name}?`, absent: `no ${name}` }[status];
  const place = placeOf(finding);
  return `${called}${place ? `, ${place}` : ""}${change ? ` (${change})` : ""}`;
}

/**
 * On one line.
 * @param {string} text
 */
function inline(text) {
  return text.trim().replaceAll(/\s+/g, " ");
}

/**
 * The first letter small, unless an acronym begins with it.
 * @param {string} text
 */
function lowered(text) {
  return /^\p{Lu}(?!\p{Lu})/u.test(text) ? text[0].toLowerCase() + text.slice(1) : text;
}

/**
 * "hedged: may represent" of a finding that is uncertain, or "".
 * @param {Pick<Finding, "status" | "hedge">} finding
 * @param {Slicer} slice
 */
function hedging({ status, hedge }, slice) {
  if (status !== "uncertain") return "";
  return hedge === null ? "hedged" : `hedged: ${inline(slice(...hedge))}`;
}

/**
 * @param {Finding[]} findings
 * @param {Slicer} slice
 * @returns {Statement}
 */
function statement(findings, slice) {
  const [first] = findings;
  const about = { findings, status: first.status, section: first.section, hedge: hedging(first, slice) };
  if (findings.length === 1) return { ...about, title: findingTitle(first), subject: findingTitle(first) };
  const told = lowered(inline(slice(first.start, first.end)));
  const sides = new Set(findings.map(({ side }) => side));
  const [side] = sides.size === 1 ? sides : [null];
  const subject = (side === "left" || side === "right") && !told.includes(side) ? `${told}, ${side}` : told; // of the heading
  const denied = findings.map(({ name }) => `no ${name}`).join(", ");
  return { ...about, title: `${subject}: ${denied}`, subject };
}

/**
 * [{ findings, status, section, hedge, title, subject }], present ones first. Absences that one normal statement tells
 * ("the lungs are clear") are one. hedge: "hedged: may represent" or "". subject: a title that is short.
 * @param {Pick<Report, "findings" | "text">} report
 */
export function statements({ findings, text }) {
  const slice = slicer(text);
  /** @type {Map<string | number, Finding[]>} */
  const groups = new Map();
  for (const finding of findings) {
    const key = finding.status === "absent" ? `${finding.start}-${finding.end}` : finding.index;
    groups.set(key, [...groups.get(key) ?? [], finding]);
  }
  return [...groups.values()].map((members) => statement(members, slice))
    .sort((one, other) => STATUSES.indexOf(one.status) - STATUSES.indexOf(other.status));
}

/**
 * Whether two statements say the same: the same name and status, and no place or change that the other contradicts.
 * @param {Statement} one
 * @param {Statement} other
 */
function echo(one, other) {
  if (one.status !== other.status || one.section === other.section) return false;
  if (one.findings.length > 1 || other.findings.length > 1) return one.title === other.title;
  const [{ name, side, zones, change }, also] = [one.findings[0], other.findings[0]];
  const within = zones.every((zone) => also.zones.includes(zone)) || also.zones.every((zone) => zones.includes(zone));
  return name === also.name && (side === also.side || side === null || also.side === null) && within
    && (change === also.change || change === null || also.change === null);
}

/**
 * [{ title, status, told: [statement] }]: what is said again elsewhere (in the impression) is one entry, under the title
 * that tells most.
 * @param {Pick<Report, "findings" | "text">} report
 * @returns {Entry[]}
 */
export function entries(report) {
  /** @type {Omit<Entry, "title">[]} */
  const found = [];
  for (const one of statements(report)) {
    const same = found.find(({ told }) => told.every((other) => echo(one, other)));
    if (same) same.told.push(one);
    else found.push({ status: one.status, told: [one] });
  }
  const fullest = (/** @type {Statement[]} */ told) =>
    told.reduce((best, { title }) => (title.length > best.length ? title : best), "");
  return found.map(({ status, told }) => ({ status, told, title: fullest(told) }));
}

/**
 * The statement that finding `index` belongs to.
 * @param {Pick<Report, "findings" | "text">} report
 * @param {number} index
 */
export function statementOf(report, index) {
  const found = statements(report).find(({ findings }) => findings.some((finding) => finding.index === index));
  if (found === undefined) throw new Error(`The report has no finding ${index}.`);
  return found;
}

/**
 * Mark the words (nodes by index) that name findings, each by the first of its statuses, and those that hedge.
 * @param {Report} report
 * @param {HTMLElement[]} nodes
 */
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

/**
 * @param {Pick<Report, "words">} report
 * @param {Span | null} span
 */
function wordsWithin({ words }, span) {
  return span === null ? [] : words.filter((word) => word.start < span[1] && word.end > span[0]);
}

/**
 * A selection of the words that a mention is made of.
 * @param {Pick<Mention, "word_indices">} mention
 * @returns {WordSelection}
 */
function wordsOf({ word_indices: indices }) {
  return { kind: "words", first: Math.min(...indices), last: Math.max(...indices) };
}

/**
 * Whether an entry has a map: some of its words were written by tokens.
 * @param {Entry} entry
 * @param {Pick<Report, "words">} report
 */
function isDrawn({ told }, { words }) {
  return told.some(({ findings: [{ word_indices: indices }] }) => indices.some((index) => words[index].token_indices.length > 0));
}

/** Chips for what is stated, and under them, quietly, what is only named. onSelect takes a selection as in report.js. */
export class Findings {
  /** @param {(selection: Selection) => void} onSelect */
  constructor(onSelect) {
    this.onSelect = onSelect;
    this.host = byId("findings");
    this.named = byId("mentions");
    /** @type {[HTMLElement, (selection: Selection | null) => boolean][]} */
    this.marks = []; // a node, and whether a selection is its
    this.clear();
  }

  clear() {
    this.marks = [];
    for (const host of [this.host, this.named]) {
      host.replaceChildren();
      host.hidden = true;
    }
  }

  /** @param {Report} report */
  show(report) {
    this.clear();
    this.host.append(...entries(report).map((entry) => (isDrawn(entry, report) ? this.chip(entry)
      : make("span", { class: `mi-chip mi-${entry.status}` }, entry.title))));
    this.host.hidden = this.host.childElementCount === 0;
    this.showMentions(report.mentions);
  }

  /**
   * A chip for an entry: a click chooses where it is said first, the next one where it is said again.
   * @param {Entry} entry
   */
  chip({ told, status, title }) {
    const chosen = (/** @type {Selection | null} */ selection) => (selection?.kind === "finding"
      ? told.findIndex(({ findings }) => findings.some(({ index }) => index === selection.index)) : -1);
    const sections = told.flatMap(({ section }) => section || []);
    const hedges = told.map(({ hedge }) => hedge).filter(Boolean);
    const chip = make("button", {
      type: "button", class: `mi-chip mi-${status}`, "aria-pressed": "false",
      "data-finding-index": told[0].findings[0].index,
      title: [...new Set([...hedges, sections.length ? `In ${new Intl.ListFormat("en").format(sections)}` : ""])].filter(Boolean).join("\n") || false,
    }, title, told.length > 1 ? make("span", { class: "mi-times", "aria-label": `, said ${told.length} times` }, `×${told.length}`) : null);
    /** @type {Selection | null} */
    let now = null;
    chip.addEventListener("click", () => {
      const next = (chosen(now) + 1) % told.length;
      this.onSelect({ kind: "finding", index: told[next].findings[0].index });
    });
    this.marks.push([chip, (selection) => {
      now = selection;
      return chosen(selection) >= 0;
    }]);
    return chip;
  }

  /** @param {Mention[]} mentions */
  showMentions(mentions) {
    this.named.hidden = mentions.length === 0;
    this.named.append("Also named: ", ...mentions.flatMap((mention, at) => [at ? ", " : "", this.mention(mention)]));
  }

  /** @param {Mention} mention */
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

  /**
   * @param {string} text
   * @param {Attributes} attributes
   * @param {Selection} selection
   */
  button(text, attributes, selection) {
    const node = make("button", { type: "button", "aria-pressed": "false", ...attributes }, text);
    node.addEventListener("click", () => this.onSelect(selection));
    return node;
  }

  /** @param {Selection | null} selection */
  mark(selection) {
    for (const [node, isOf] of this.marks) press(node, isOf(selection));
  }
}
