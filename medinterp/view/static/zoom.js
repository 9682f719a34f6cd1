// How near a film is looked at, and where: one for all views of it, so that they move together. factor 1 = fitted; x, y:
// the point of the film (shares of its width and height) in the middle of the stage.

/** @import { Place, Size } from "./types" */

const LARGEST = 16;
const SMALLEST = 0.05; // a small film at its own size is smaller than the stage
export const STEP = 1.25;

export class Zoom {
  constructor() {
    /** @type {(() => void)[]} */
    this.listeners = [];
    this.factor = 1;
    this.x = 0.5;
    this.y = 0.5;
  }

  /**
   * run() is called when anything has changed.
   * @param {() => void} run
   */
  onChange(run) {
    this.listeners.push(run);
  }

  changed() {
    for (const run of this.listeners) run();
  }

  fit() {
    this.set(1, 0.5, 0.5);
  }

  /**
   * @param {number} factor
   * @param {number} x
   * @param {number} y
   */
  set(factor, x, y) {
    Object.assign(this, { factor: Math.min(LARGEST, Math.max(SMALLEST, factor)), x, y });
    this.changed();
  }

  /**
   * Nearer by a factor: what is in the middle of the stage stays there.
   * @param {number} step
   */
  by(step) {
    this.set(Math.max(1, this.factor * step), this.x, this.y);
  }

  /**
   * Nearer by a factor, about a point of the film (shares of its width and height) that stays where it is on the stage.
   * @param {number} step
   * @param {{ x: number, y: number }} point
   * @param {Size} film
   * @param {Size} stage
   */
  about(step, { x, y }, film, stage) {
    const before = this.place(film, stage);
    this.factor = Math.min(LARGEST, Math.max(1, this.factor * step));
    const { width, height } = this.place(film, stage);
    const centre = (
      /** @type {number} */ share, /** @type {number} */ start, /** @type {number} */ size, /** @type {number} */ room,
      /** @type {number} */ larger,
    ) => kept(share + (room / 2 - start - share * size) / larger, larger, room);
    this.set(this.factor, centre(x, before.left, before.width, stage.width, width),
      centre(y, before.top, before.height, stage.height, height));
  }

  /**
   * Where the film lies on a stage, all in one unit: { left, top, width, height }. It never leaves the stage: where it
   * is smaller it stays in the middle.
   * @param {Size} film
   * @param {Size} stage
   * @returns {Place}
   */
  place(film, stage) {
    const fit = Math.min(stage.width / film.width, stage.height / film.height);
    const [width, height] = [film.width * fit * this.factor, film.height * fit * this.factor];
    const along = (/** @type {number} */ share, /** @type {number} */ size, /** @type {number} */ room) =>
      (size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, room / 2 - share * size)));
    return { left: along(this.x, width, stage.width), top: along(this.y, height, stage.height), width, height };
  }

  /**
   * Move by shares of the film, as far as its edge.
   * @param {number} dx
   * @param {number} dy
   * @param {Size} film
   * @param {Size} stage
   */
  move(dx, dy, film, stage) {
    const { left, top, width, height } = this.place(film, stage);
    const moved = (/** @type {number} */ step, /** @type {number} */ start, /** @type {number} */ size, /** @type {number} */ room) =>
      kept((room / 2 - start) / size + step, size, room);
    this.set(this.factor, moved(dx, left, width, stage.width), moved(dy, top, height, stage.height));
  }
}

/**
 * The share of a film that can be in the middle of the stage, nearest to the one asked for.
 * @param {number} share
 * @param {number} size
 * @param {number} room
 */
function kept(share, size, room) {
  const half = room / 2 / size;
  return size <= room ? 0.5 : Math.min(1 - half, Math.max(half, share));
}
