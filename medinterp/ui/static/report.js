// The report: sections and clickable words. A selection is
//   { kind: "words", first, last } (word indices, inclusive) or { kind: "finding", index }.

import { byId, make, percent, slicer } from "./dom.js";
import { Findings, markWords } from "./findings.js";
import { showReading, underlined } from "./sentences.js";
import { folded, outside, parted } from "./thinking.js";
import { showUnlikely, unlikelihood, wavy } from "./unlikely.js";
import { sourceOf } from "./written.js";

const STRONGEST = 0.34; // opacity of the tint at the report's largest image mass

/** The word indices that a selection speaks of. */
export function selectedWords(selection, report) {
  if (!selection) return [];
  if (selection.kind === "finding") return report.findings[selection.index].word_indices;
  const indices = [];
  for (let index = selection.first; index <= selection.last; index += 1) indices.push(index);
  return indices;
}

export class ReportView {
  /** onSelect(selection or null) is called when the reader chooses. */
  constructor(onSelect) {
    this.onSelect = onSelect;
    this.host = byId("report");
    this.findings = new Findings(onSelect);
    this.clear();
    this.host.addEventListener("click", (event) => this.clicked(event));
    this.host.addEventListener("keydown", (event) => this.keyed(event));
    new ResizeObserver(() => this.keepInSight()).observe(this.host);
  }

  clear() {
    this.report = null;
    this.words = [];
    this.anchor = null;
    this.host.replaceChildren(make("p", { class: "mi-hint" }, "The report appears here, word by word."));
    this.host.classList.remove("mi-streaming");
    this.findings.clear();
    for (const name of ["legend", "given-note", "sentences", "unlikely", "cut"]) byId(name).hidden = true;
  }

  /**
   * Begin a stream of words; returns the function that takes each piece of text, and says what is being written.
   * given: somebody else wrote it, and it comes as it is.
   */
  stream(given) {
    this.clear();
    this.noteSource({ given });
    let whole = "";
    const raw = make("p", { class: "mi-raw" }, make("span", { class: "mi-caret" }));
    this.host.replaceChildren(raw);
    this.host.classList.toggle("mi-streaming", !given);
    return (delta) => {
      const atEnd = this.host.scrollHeight - this.host.scrollTop - this.host.clientHeight < 40;
      whole += delta;
      const parts = parted(whole);
      raw.replaceChildren(...parts.filter(({ text }) => text).map(({ text, thought }) =>
        (thought ? make("span", { class: "mi-thought" }, text) : text)), raw.lastChild);
      if (atEnd) this.host.scrollTop = this.host.scrollHeight;
      return parts.at(-1);
    };
  }

  noteSource(provenance) {
    const note = byId("given-note");
    note.textContent = sourceOf(provenance);
    note.hidden = !note.textContent;
  }

  /** The stream ended without a report: what was written stays, without links. */
  stopStream() {
    this.host.classList.remove("mi-streaming");
    if (!this.host.textContent) this.clear();
  }

  show(report, provenance) {
    this.clear();
    this.noteSource(provenance);
    this.report = report;
    const largest = Math.max(0, ...report.words.map((word) => word.image_mass));
    this.words = report.words.map((word) => this.wordNode(word, largest));
    markWords(report, this.words);
    this.host.replaceChildren(...this.blocks());
    this.host.querySelector("details")?.addEventListener("toggle", () => this.enterAtStart());
    this.enterAtStart();
    this.findings.show(report);
    this.showLegend(largest);
    showReading(report.sentences);
    showUnlikely(report);
  }

  wordNode(word, largest) {
    const strength = largest > 0 ? word.image_mass / largest : 0;
    const node = make("span", {
      class: "medinterp-word",
      role: "button",
      tabindex: "-1",
      "aria-pressed": "false",
      "data-word-index": word.index,
      title: [unlikelihood(word), `${percent(word.image_mass)} of the attention was on the film`].filter(Boolean).join("\n"),
    }, wavy(word));
    node.style.setProperty("--mi-tint", (strength * STRONGEST).toFixed(3));
    return node;
  }

  /** The thoughts, then sections with their headings; what stands outside a section keeps its place. */
  blocks() {
    const { sections, text } = this.report;
    const slice = slicer(text);
    const size = Array.from(text).length;
    const blocks = folded(this.report, (start, end) => this.run(slice, start, end));
    let at = 0;
    for (const section of sections) {
      const before = this.written(at, section.start);
      const [from, start] = before.pop() ?? [section.start, section.start];
      // The heading is the last line before the body; what stands above it is a paragraph of its own.
      const lead = from + Array.from(slice(from, start).trimEnd()).lastIndexOf("\n") + 1;
      blocks.push(...this.paragraphs(slice, [...before, [from, lead]]));
      const heading = make("h3", {}, ...this.run(slice, lead, start, true));
      const body = this.written(section.start, section.end).flatMap((range) => this.run(slice, ...range));
      blocks.push(make("div", { class: "mi-section" }, heading, make("p", {}, ...body)));
      at = section.end;
    }
    blocks.push(...this.paragraphs(slice, this.written(at, size)));
    if (this.report.thinking.length && !this.written(0, size).some((range) => slice(...range).trim())) {
      blocks.push(make("p", { class: "mi-hint" }, "The model thought, and wrote no report."));
    }
    return blocks;
  }

  /** What of text[start:end] is the report, not thought. */
  written(start, end) {
    return outside(this.report.thinking, start, end);
  }

  paragraphs(slice, ranges) {
    return ranges.filter((range) => slice(...range).trim()).map((range) => make("p", {}, ...this.run(slice, ...range)));
  }

  /** Words and the text between them in text[start:end], trimmed; a heading loses its markdown signs. */
  run(slice, start, end, heading = false) {
    const text = slice(start, end);
    const first = start + text.length - text.trimStart().length; // white space has one UTF-16 unit each
    const last = Math.max(first, end - (text.length - text.trimEnd().length));
    return underlined(this.report.sentences, first, last, (from, to) => this.piece(slice, from, to, heading));
  }

  piece(slice, start, end, heading) {
    const nodes = [];
    const plain = (from, to) => {
      const text = heading ? slice(from, to).replace(/[*#:]/g, "") : slice(from, to);
      if (text) nodes.push(document.createTextNode(text));
    };
    let at = start;
    for (const word of this.report.words) {
      if (word.end <= start || word.start >= end) continue;
      if (word.start > at) plain(at, word.start);
      nodes.push(this.words[word.index]);
      at = word.end;
    }
    if (at < end) plain(at, end);
    return nodes;
  }

  showLegend(largest) {
    const legend = byId("legend");
    legend.replaceChildren(
      "Tint: attention on the film, 0 ",
      make("span", { class: "mi-ramp", "aria-hidden": "true" }),
      ` ${percent(largest)}`,
    );
    legend.hidden = this.words.length === 0;
  }

  /** Mark what is selected. */
  mark(selection) {
    const chosen = new Set(this.report ? selectedWords(selection, this.report) : []);
    for (const node of this.words) {
      const pressed = chosen.has(Number(node.dataset.wordIndex));
      node.setAttribute("aria-pressed", String(pressed));
    }
    this.findings.mark(selection);
    if (selection?.kind !== "words") this.anchor = null;
    this.keepInSight();
  }

  /** The chosen word is in sight, though a chip may be far from it, and what is said of it takes room from the report. */
  keepInSight() {
    const chosen = this.words.find((node) => node.getAttribute("aria-pressed") === "true" && node.checkVisibility());
    if (!chosen) return;
    const word = chosen.getBoundingClientRect();
    const host = this.host.getBoundingClientRect();
    if (word.bottom > host.bottom) this.host.scrollTop += word.bottom - host.bottom + word.height;
    else if (word.top < host.top) this.host.scrollTop -= host.top - word.top + word.height;
  }

  /** Choose a word, or with `extend` everything from the anchor to it. */
  choose(index, extend) {
    if (!extend || this.anchor === null) this.anchor = index;
    const first = Math.min(this.anchor, index);
    const last = Math.max(this.anchor, index);
    this.onSelect({ kind: "words", first, last });
  }

  /** Tab leads to this word. */
  enterAt(node) {
    for (const other of this.words) other.tabIndex = -1;
    if (node) node.tabIndex = 0;
  }

  /** Tab leads to the first word that is not folded away. */
  enterAtStart() {
    this.enterAt(this.words.find((node) => node.checkVisibility()));
  }

  focus(index) {
    this.enterAt(this.words[index]);
    this.words[index].focus();
  }

  clicked(event) {
    const node = event.target.closest(".medinterp-word");
    if (!node) return;
    const index = Number(node.dataset.wordIndex);
    if (event.shiftKey) getSelection().removeAllRanges(); // the browser's own text selection
    this.focus(index);
    this.choose(index, event.shiftKey);
  }

  keyed(event) {
    const node = event.target.closest(".medinterp-word");
    if (!node || event.ctrlKey || event.metaKey || event.altKey) return;
    const index = Number(node.dataset.wordIndex);
    if (event.key === "Enter" || event.key === " ") {
      this.choose(index, event.shiftKey);
    } else if (event.key === "Escape") {
      this.onSelect(null);
    } else {
      const target = this.neighbour(index, event.key);
      if (target === null) return;
      this.focus(target);
      if (event.shiftKey) {
        if (this.anchor === null) this.anchor = index;
        this.choose(target, true);
      }
    }
    event.preventDefault();
  }

  /** The word that a key leads to: the next, the previous, the one above or below, first, last; none that is folded away. */
  neighbour(index, key) {
    const last = this.words.length - 1;
    if (key === "ArrowRight") return this.seen(index + 1, 1) ?? index;
    if (key === "ArrowLeft") return this.seen(index - 1, -1) ?? index;
    if (key === "Home") return this.seen(0, 1);
    if (key === "End") return this.seen(last, -1);
    if (key !== "ArrowUp" && key !== "ArrowDown") return null;
    const step = key === "ArrowDown" ? 1 : -1;
    const here = this.words[index].getBoundingClientRect();
    const middle = (here.left + here.right) / 2;
    let line = null;
    let best = index;
    let nearest = Infinity;
    for (let at = this.seen(index + step, step); at !== null; at = this.seen(at + step, step)) {
      const box = this.words[at].getBoundingClientRect();
      if (Math.abs(box.top - here.top) < here.height / 2) continue;
      if (line === null) line = box.top;
      if (Math.abs(box.top - line) > here.height / 2) break;
      const distance = Math.abs((box.left + box.right) / 2 - middle);
      if (distance < nearest) [nearest, best] = [distance, at];
    }
    return best;
  }

  /** The first word from `index` on, in steps of 1 or -1, that is not folded away. */
  seen(index, step) {
    for (let at = index; at >= 0 && at < this.words.length; at += step) {
      if (this.words[at].checkVisibility()) return at;
    }
    return null;
  }
}
