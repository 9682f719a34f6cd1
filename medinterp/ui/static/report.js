// The report: sections, clickable words, findings. A selection is
//   { kind: "words", first, last } (word indices, inclusive) or { kind: "finding", index }.

import { byId, make, percent, slicer } from "./dom.js";

const STRONGEST = 0.34; // opacity of the tint at the report's largest image mass

/** "nodule, left upper" or "no pneumothorax". */
export function findingTitle(finding) {
  const place = [finding.side, finding.zone].filter(Boolean).join(" ");
  return `${finding.present ? "" : "no "}${finding.name}${place ? `, ${place}` : ""}`;
}

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
    this.findings = byId("findings");
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
    this.findings.replaceChildren();
    this.findings.hidden = true;
    byId("legend").hidden = true;
    byId("cut").hidden = true;
  }

  /** Begin a stream of words; returns the function that takes each piece of text. */
  stream() {
    this.clear();
    const text = document.createTextNode("");
    this.host.replaceChildren(make("p", { class: "mi-raw" }, text, make("span", { class: "mi-caret" })));
    this.host.classList.add("mi-streaming");
    return (delta) => {
      const atEnd = this.host.scrollHeight - this.host.scrollTop - this.host.clientHeight < 40;
      text.data += delta;
      if (atEnd) this.host.scrollTop = this.host.scrollHeight;
    };
  }

  /** The stream ended without a report: what was written stays, without links. */
  stopStream() {
    this.host.classList.remove("mi-streaming");
    if (!this.host.textContent) this.clear();
  }

  show(report) {
    this.clear();
    this.report = report;
    const largest = Math.max(0, ...report.words.map((word) => word.image_mass));
    this.words = report.words.map((word) => this.wordNode(word, largest));
    for (const finding of report.findings) {
      for (const index of finding.word_indices) {
        this.words[index].classList.add("mi-finding", finding.present ? "mi-present" : "mi-absent");
      }
    }
    this.host.replaceChildren(...this.blocks());
    if (this.words.length) this.words[0].tabIndex = 0;
    this.showFindings();
    this.showLegend(largest);
  }

  wordNode(word, largest) {
    const strength = largest > 0 ? word.image_mass / largest : 0;
    const node = make("span", {
      class: "medinterp-word",
      role: "button",
      tabindex: "-1",
      "aria-pressed": "false",
      "data-word-index": word.index,
      title: `${percent(word.image_mass)} of the attention was on the film`,
    }, word.text);
    node.style.setProperty("--mi-tint", (strength * STRONGEST).toFixed(3));
    return node;
  }

  /** Sections with their headings; what stands outside a section keeps its place. */
  blocks() {
    const { sections } = this.report;
    const slice = slicer(this.report.text);
    const size = Array.from(this.report.text).length;
    const blocks = [];
    let at = 0;
    for (const section of sections) {
      // The heading is the last line before the body; what stands above it is a paragraph of its own.
      const before = Array.from(slice(at, section.start).trimEnd());
      const lead = at + before.lastIndexOf("\n") + 1;
      if (slice(at, lead).trim()) blocks.push(make("p", {}, ...this.run(slice, at, lead)));
      const heading = make("h3", {}, ...this.run(slice, lead, section.start, true));
      const body = make("p", {}, ...this.run(slice, section.start, section.end));
      blocks.push(make("div", { class: "mi-section" }, heading, body));
      at = section.end;
    }
    if (slice(at, size).trim()) blocks.push(make("p", {}, ...this.run(slice, at, size)));
    return blocks;
  }

  /** Words and the text between them in text[start:end]; a heading loses its markdown signs. */
  run(slice, start, end, heading = false) {
    const { words } = this.report;
    const nodes = [];
    const plain = (from, to) => {
      let piece = slice(from, to);
      if (from === start) piece = piece.trimStart();
      if (to === end) piece = piece.trimEnd();
      if (heading) piece = piece.replace(/[*#:]/g, "");
      if (piece) nodes.push(document.createTextNode(piece));
    };
    let at = start;
    for (const word of words) {
      if (word.end <= start || word.start >= end) continue;
      if (word.start > at) plain(at, word.start);
      nodes.push(this.words[word.index]);
      at = word.end;
    }
    if (at < end) plain(at, end);
    return nodes;
  }

  showFindings() {
    // What is there comes first: of the rest there is always more.
    const findings = [...this.report.findings].sort((one, other) => other.present - one.present);
    const titles = findings.map(findingTitle);
    const chips = findings.map((finding, place) => {
      const title = titles[place];
      const twin = titles.indexOf(title) !== titles.lastIndexOf(title); // the impression repeats what was written before
      const chip = make("button", {
        type: "button",
        class: `mi-chip ${finding.present ? "mi-present" : "mi-absent"}`,
        "aria-pressed": "false",
        "data-finding-index": finding.index,
        title: finding.section ? `In ${finding.section}` : false,
      }, twin && finding.section ? `${title} (${finding.section})` : title);
      chip.addEventListener("click", () => this.onSelect({ kind: "finding", index: finding.index }));
      return chip;
    });
    this.findings.replaceChildren(...chips);
    this.findings.hidden = chips.length === 0;
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
    for (const chip of this.findings.children) {
      const pressed = selection?.kind === "finding" && Number(chip.dataset.findingIndex) === selection.index;
      chip.setAttribute("aria-pressed", String(pressed));
    }
    if (selection?.kind !== "words") this.anchor = null;
  }

  /** What is said of a word takes room from the report: the word does not slip out of it. */
  keepInSight() {
    const chosen = this.words.find((node) => node.getAttribute("aria-pressed") === "true");
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

  focus(index) {
    for (const node of this.words) node.tabIndex = -1;
    this.words[index].tabIndex = 0;
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

  /** The word that a key leads to: the next, the previous, the one above or below, first, last. */
  neighbour(index, key) {
    const last = this.words.length - 1;
    if (key === "ArrowRight") return Math.min(index + 1, last);
    if (key === "ArrowLeft") return Math.max(index - 1, 0);
    if (key === "Home") return 0;
    if (key === "End") return last;
    if (key !== "ArrowUp" && key !== "ArrowDown") return null;
    const step = key === "ArrowDown" ? 1 : -1;
    const here = this.words[index].getBoundingClientRect();
    const middle = (here.left + here.right) / 2;
    let line = null;
    let best = index;
    let nearest = Infinity;
    for (let at = index + step; at >= 0 && at <= last; at += step) {
      const box = this.words[at].getBoundingClientRect();
      if (Math.abs(box.top - here.top) < here.height / 2) continue;
      if (line === null) line = box.top;
      if (Math.abs(box.top - line) > here.height / 2) break;
      const distance = Math.abs((box.left + box.right) / 2 - middle);
      if (distance < nearest) [nearest, best] = [distance, at];
    }
    return best;
  }
}
