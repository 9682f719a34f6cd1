// A region of the film, a box or painted cells, and the words that it drove: ranked in the drawer, tinted in the report.

/** @import { Box, Place, Point, Report } from "./types" */
/** @import { Viewer } from "./viewer.js" */

import { byId, closest, compact, make, makeSvg, percent } from "./dom.js";
import { coverageOf, drivenWords } from "./driven.js";

const LISTED = 40;
/** @type {Record<string, [number, number]>} */
const KEYS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

export class Region {
  /**
   * @param {Viewer} viewer
   * @param {{ onRegion: () => void, onWord: (index: number) => void }} does onRegion: the region is another; onWord: one
   *   of the words is chosen
   */
  constructor(viewer, { onRegion, onWord }) {
    this.viewer = viewer;
    this.onRegion = onRegion;
    this.onWord = onWord;
    this.host = byId("region");
    this.marks = byId("marks");
    /** @type {string | null} */
    this.tool = null;
    this.dragging = false; // with the pointer: nothing may move under it
    /** @type {Report | null} */
    this.report = null;
    /** @type {ReturnType<typeof drivenWords>} */
    this.ranked = [];
    /** @type {Box | null} */
    this.box = null;
    /** @type {Set<number>} */
    this.cells = new Set(); // painted ones
    /** @type {[number, number] | null} */
    this.cursor = null; // row and column of the keyboard's cell
    /** @type {[number, number] | null} */
    this.anchor = null; // where Shift began
    /** @type {Point} */
    this.start = { x: 0, y: 0 }; // where a drag began
    this.erasing = false;
    this.clear();
    viewer.view.onPlace((place) => this.follow(place));
    viewer.stage.addEventListener("keydown", (event) => this.keyed(event));
    this.host.addEventListener("click", (event) => {
      const row = closest(event, "[data-driven]");
      if (row) this.onWord(Number(row.dataset.driven));
    });
  }

  /** @param {string | null} tool */
  useTool(tool) {
    this.tool = tool;
    if (tool !== null) this.render();
  }

  /**
   * Of which report's words it is asked; null when it is gone.
   * @param {Report | null} report
   */
  open(report) {
    this.report = report;
    this.clear();
  }

  clear() {
    this.box = null;
    this.cells = new Set();
    this.cursor = this.anchor = null;
    this.changed();
  }

  get empty() {
    return this.box === null && this.cells.size === 0;
  }

  /**
   * Set a box from elsewhere (a link).
   * @param {Box} box
   */
  setBox(box) {
    this.box = box;
    this.cells = new Set();
    this.changed();
  }

  // With the pointer: points in shares of the film

  /**
   * @param {Point} point
   * @param {boolean} extend
   */
  begin({ x, y }, extend) {
    this.start = { x, y };
    this.dragging = true;
    if (this.tool === "paint") {
      this.box = null;
      const cell = this.cellAt({ x, y });
      if (!extend) this.erasing = cell !== null && this.cells.has(cell);
      this.drag({ x, y });
    } else {
      this.cells = new Set();
      this.box = null;
    }
  }

  /** @param {Point} point */
  drag({ x, y }) {
    const kept = (/** @type {number} */ share) => Math.min(1, Math.max(0, share));
    if (this.tool === "paint") {
      const cell = this.cellAt({ x, y });
      if (cell === null) return;
      if (this.erasing) this.cells.delete(cell);
      else this.cells.add(cell);
    } else {
      const [x0, x1] = [kept(this.start.x), kept(x)].sort((one, other) => one - other);
      const [y0, y1] = [kept(this.start.y), kept(y)].sort((one, other) => one - other);
      this.box = x1 > x0 && y1 > y0 ? { left: x0, top: y0, right: x1, bottom: y1 } : null;
    }
    this.changed();
  }

  end() {
    this.dragging = false;
    this.changed();
  }

  /** @param {Point} point */
  cellAt({ x, y }) {
    const pack = this.viewer.pack;
    if (pack === null || x < 0 || y < 0 || x >= 1 || y >= 1) return null;
    return Math.floor(y * pack.rows) * pack.columns + Math.floor(x * pack.columns);
  }

  /**
   * With the keys, on the film: arrows move over cells, Shift extends the box, Enter paints.
   * @param {KeyboardEvent} event
   */
  keyed(event) {
    const { pack } = this.viewer;
    if (this.tool === null || pack === null || event.target !== this.viewer.stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = KEYS[event.key];
    if (step) {
      const [row, column] = this.cursor ?? [Math.floor(pack.rows / 2), Math.floor(pack.columns / 2)];
      const inside = (/** @type {number} */ at, /** @type {number} */ count) => Math.min(count - 1, Math.max(0, at));
      /** @type {[number, number]} */
      const cursor = this.cursor === null ? [row, column] : [inside(row + step[0], pack.rows), inside(column + step[1], pack.columns)];
      this.cursor = cursor;
      if (this.tool === "region") {
        const anchor = event.shiftKey && this.anchor !== null ? this.anchor : cursor;
        this.anchor = anchor;
        const [[r0, r1], [c0, c1]] = [0, 1].map((k) => [anchor[k], cursor[k]].sort((a, b) => a - b));
        this.cells = new Set();
        this.box = { left: c0 / pack.columns, top: r0 / pack.rows, right: (c1 + 1) / pack.columns, bottom: (r1 + 1) / pack.rows };
      }
    } else if ((event.key === "Enter" || event.key === " ") && this.tool === "paint" && this.cursor) {
      const cell = this.cursor[0] * pack.columns + this.cursor[1];
      this.box = null;
      if (!this.cells.delete(cell)) this.cells.add(cell);
    } else if (event.key === "Escape" && !this.empty) {
      this.clear();
    } else return;
    event.preventDefault();
    event.stopImmediatePropagation();
    this.changed();
  }

  /**
   * The share of each cell that is in the region.
   * @param {{ rows: number, columns: number }} grid
   */
  coverage({ rows, columns }) {
    if (this.box !== null) return coverageOf(this.box, rows, columns);
    return Float32Array.from({ length: rows * columns }, (_, cell) => Number(this.cells.has(cell)));
  }

  changed() {
    const { pack } = this.viewer;
    this.ranked = this.report === null || pack === null || this.empty ? []
      : drivenWords(pack, this.report.words, this.coverage(pack), this.viewer.options);
    this.drawMarks();
    this.render();
    this.onRegion();
  }

  /** index -> 0..1: how strongly the region drove each word, against the report's own range. */
  get tints() {
    const { pack, options } = this.viewer;
    if (this.ranked.length === 0 || pack === null) return null;
    const [, high] = pack.range(options);
    const top = Math.max(high, this.ranked[0].value);
    return new Map(this.ranked.map(({ index, value }) => [index, top > 0 ? Math.sqrt(Math.max(0, value) / top) : 0]));
  }

  drawMarks() {
    /** @type {SVGElement[]} */
    const shapes = [];
    /** @type {(x: number, y: number, width: number, height: number, kind: string) => SVGElement} */
    const rectangle = (x, y, width, height, kind) => makeSvg("rect", { x, y, width, height, class: kind });
    if (this.box) {
      const { left, top, right, bottom } = this.box;
      shapes.push(rectangle(left, top, right - left, bottom - top, "mi-region"));
    }
    const { pack } = this.viewer;
    if (pack !== null) {
      const cell = (/** @type {number} */ at, /** @type {string} */ kind) =>
        rectangle((at % pack.columns) / pack.columns, Math.floor(at / pack.columns) / pack.rows, 1 / pack.columns, 1 / pack.rows, kind);
      shapes.push(...[...this.cells].map((at) => cell(at, "mi-region mi-painted")));
      if (this.cursor && this.tool === "paint") shapes.push(cell(this.cursor[0] * pack.columns + this.cursor[1], "mi-cursor"));
    }
    if (byId("cell-grid").checked) shapes.push(gridOf(pack));
    this.marks.replaceChildren(...shapes);
    this.marks.toggleAttribute("hidden", shapes.length === 0);
  }

  /**
   * The marks lie on the film.
   * @param {Place} place
   */
  follow({ left, top, width, height }) {
    Object.assign(this.marks.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
  }

  render() {
    const { report } = this;
    if (report === null) {
      this.host.replaceChildren(make("p", { class: "mi-hint" }, "Read a film first."));
      return;
    }
    if (this.empty) {
      this.host.replaceChildren(make("h2", {}, "Which words did a region drive?"),
        make("p", { class: "mi-hint" }, "Choose “Region” above the film and drag a box, or “Paint” and paint cells. "
          + "With the keyboard: arrow keys on the film, Shift extends the box, Enter paints a cell."));
      return;
    }
    const clear = make("button", { type: "button", class: "mi-button mi-small", id: "medinterp-region-clear" }, "Clear the region");
    clear.addEventListener("click", () => this.clear());
    const rows = this.ranked.filter(({ value }) => value > 0).slice(0, LISTED);
    const top = rows[0]?.value ?? 0;
    const scale = this.viewer.pack?.range(this.viewer.options)[1] ?? 0;
    const list = make("ol", { class: "mi-bars mi-driven", id: "medinterp-driven" }, ...rows.map(({ index, value, share }) => {
      const row = make("li", {}, make("button", { type: "button", class: "mi-link", "data-driven": index }, report.words[index].text,
        make("span", { class: "mi-quiet" }, ` ${report.words[index].section ?? ""}`)),
      make("span", { class: "mi-bar-value", title: `The map's mean over the region: ${compact(value)}, and that as a share of the report's scale; `
        + "then the share of the word's own map that lies there" },
        `${scale > 0 ? percent(value / scale) : compact(value)} · ${percent(share)}`));
      row.style.setProperty("--mi-share", (value / top).toFixed(4));
      return row;
    }));
    this.host.replaceChildren(make("h2", {}, "Words that this region drove"),
      make("p", { class: "mi-quiet" }, `By ${this.viewer.method?.title ?? "the method"}: how strong its map is in the region, of the report's scale, strongest first; then how much of the word's own map lies there.`),
      clear, rows.length ? list : make("p", { class: "mi-hint" }, "No word: no map has anything there."));
  }
}

/**
 * The lines between the cells of a grid, on the whole film.
 * @param {{ rows: number, columns: number } | null} pack
 */
function gridOf(pack) {
  const between = (/** @type {number} */ count) => Array.from({ length: Math.max(0, count - 1) }, (_, at) => (at + 1) / count);
  const lines = pack === null ? [] : [...between(pack.columns).map((x) => `M${x} 0V1`), ...between(pack.rows).map((y) => `M0 ${y}H1`)];
  return makeSvg("path", { class: "mi-cell-grid", d: lines.join("") });
}
