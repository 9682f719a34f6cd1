// A length on the film: drag a line, or move its ends with the keys. In millimetres where the file says how large its
// pixels are.

/** @import { Place, Point, ReadFilm } from "./types" */
/** @import { Viewer } from "./viewer.js" */

import { byId, makeSvg } from "./dom.js";

const STEP = 0.01; // of the film's longer side, a key
/** @type {Record<string, [number, number]>} */
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** @typedef {Pick<ReadFilm, "width" | "height"> & { spacing?: ReadFilm["spacing"] }} Measured */

export class Ruler {
  /** @param {Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this.active = false; // its tool is chosen
    /** @type {[Point, Point] | null} */
    this.ends = null; // in shares of the film
    this.lines = byId("ruler");
    this.label = byId("ruler-length");
    this.said = byId("ruler-said");
    viewer.view.onPlace((place) => this.draw(place));
    viewer.stage.addEventListener("keydown", (event) => this.keyed(event));
  }

  /** @param {boolean} active */
  use(active) {
    this.active = active;
    if (active) this.say();
  }

  clear() {
    this.ends = null;
    this.redraw();
  }

  /** @param {Point} point */
  begin(point) {
    this.ends = [inside(point), inside(point)];
    this.redraw();
  }

  /** @param {Point} point */
  drag(point) {
    if (this.ends === null) return;
    this.ends = [this.ends[0], inside(point)];
    this.redraw();
  }

  end() {
    if (this.ends !== null && this.ends[0].x === this.ends[1].x && this.ends[0].y === this.ends[1].y) this.clear();
    this.say();
  }

  /**
   * Arrow keys move the second end, with Shift the first one; Escape takes the line away.
   * @param {KeyboardEvent} event
   */
  keyed(event) {
    const film = this.viewer.measured;
    if (!this.active || film === null || event.target !== this.viewer.stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = KEYS[event.key];
    if (step) {
      const [one, other] = this.ends ?? [{ x: 0.4, y: 0.5 }, { x: 0.6, y: 0.5 }];
      const longest = STEP * Math.max(film.width, film.height);
      const moved = (/** @type {Point} */ { x, y }) => inside({ x: x + (step[0] * longest) / film.width, y: y + (step[1] * longest) / film.height });
      this.ends = this.ends === null ? [one, other] : event.shiftKey ? [moved(one), other] : [one, moved(other)];
    } else if (event.key === "Escape" && this.ends !== null) this.ends = null;
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
    this.redraw();
    this.say();
  }

  /** For those who do not see it, and for what does not fit beside the line. */
  say() {
    const film = this.viewer.measured;
    this.said.textContent = this.ends === null || film === null ? "" : lengthOf(this.ends, film).told;
  }

  redraw() {
    if (this.viewer.view.place !== null) this.draw(this.viewer.view.place);
  }

  /** @param {Place} place */
  draw({ left, top, width, height }) {
    const film = this.viewer.measured;
    const { ends } = this;
    const shown = ends !== null && film !== null;
    this.lines.toggleAttribute("hidden", !shown);
    this.label.hidden = !shown;
    if (ends === null || film === null) {
      this.said.textContent = "";
      return;
    }
    const [one, other] = ends.map(({ x, y }) => ({ x: left + x * width, y: top + y * height }));
    const dot = (/** @type {Point} */ { x, y }) => makeSvg("circle", { cx: x, cy: y, r: 3.5 });
    this.lines.replaceChildren(makeSvg("line", { x1: one.x, y1: one.y, x2: other.x, y2: other.y, class: "mi-ruler-ground" }),
      makeSvg("line", { x1: one.x, y1: one.y, x2: other.x, y2: other.y }), dot(one), dot(other));
    this.label.textContent = lengthOf(ends, film).short;
    Object.assign(this.label.style, { left: `${(one.x + other.x) / 2}px`, top: `${(one.y + other.y) / 2}px` });
  }
}

/**
 * How long a line is; ends: in shares of the film's width and height.
 * @param {[Point, Point]} ends
 * @param {Measured} film
 */
export function lengthOf([one, other], { width, height, spacing }) {
  const pixels = Math.hypot((other.x - one.x) * width, (other.y - one.y) * height);
  if (!spacing) {
    const short = `${Math.round(pixels)} pixels`;
    return { short, told: `${short}: the file does not say how large they are` };
  }
  const length = pixels * spacing.mm;
  const mm = `${length < 10 ? length.toFixed(1) : Math.round(length)} mm`;
  if (spacing.plane === "patient") return { short: mm, told: `${mm}, calibrated by the file` };
  return { short: `${mm} at the detector`, told: `${mm} at the detector: the patient's own is smaller` };
}

/**
 * @param {Point} point
 * @returns {Point}
 */
function inside({ x, y }) {
  return { x: Math.min(1, Math.max(0, x)), y: Math.min(1, Math.max(0, y)) };
}
