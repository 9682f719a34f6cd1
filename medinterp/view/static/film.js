// A film on a stage with a map over it: two canvases, as large as the stage and as sharp as the screen. The film is
// drawn again when it is moved or windowed, the map when another is chosen; nothing is asked of a server for either.

/** @import { GrayWindow, Look, PageMap, Place, Size } from "./types" */
/** @import { Zoom } from "./zoom.js" */

import { contextOf } from "./dom.js";
import { contour, paint, paintGrays, pixelTable, scaled } from "./draw.js";
import { graysOf, windowTable } from "./grays.js";

const SHARPEST = 2; // device pixels a CSS pixel, at most: a map has no finer detail
const CONTOURS_A_SIDE = 500; // a line's thickness is the film's longer side over this, in pixels

/** The table of a window that changes nothing. */
const AS_READ = { level: 0.5, width: 1, inverted: false };

export class FilmView {
  /**
   * @param {HTMLElement} stage
   * @param {HTMLCanvasElement} film
   * @param {HTMLCanvasElement} overlay
   * @param {Zoom} zoom
   */
  constructor(stage, film, overlay, zoom) {
    this.stage = stage;
    this.filmCanvas = film;
    this.overlayCanvas = overlay;
    this.zoom = zoom;
    /** @type {ImageBitmap | null} */
    this.picture = null; // what is drawn
    /** @type {Size | null} */
    this.size = null; // the film's own
    this.smooth = true; // between pixels, where it is drawn larger than it is
    this.asIs = false;
    /** @type {GrayWindow} */
    this.window = AS_READ;
    /** @type {PageMap | null} */
    this.map = null;
    /** @type {Look | null} */
    this.look = null;
    /** @type {ImageData | null} */
    this.shades = null; // of a windowed film's pixels
    /** @type {ImageData | null} */
    this.buffer = null; // of the map's pixels
    this.shown = true; // whether the map is to be seen
    /** @type {((place: Place) => void)[]} */
    this.followers = [];
    this.drawn = 0;
    zoom.onChange(() => this.draw());
    new ResizeObserver(() => this.draw()).observe(stage);
  }

  /**
   * Show a film. size: its own, where the picture's is another (the model's view of it).
   * @param {ImageBitmap | null} picture
   * @param {{ asIs?: boolean, size?: Size | null }} options asIs: its pixels as they are, in no window and not smoothed
   */
  setFilm(picture, { asIs = false, size = picture } = {}) {
    this.picture = picture;
    this.size = size === null ? null : { width: size.width, height: size.height };
    this.asIs = asIs;
    this.filmCanvas.hidden = picture === null;
    if (picture !== null) Object.assign(this.filmCanvas.dataset, { width: picture.width, height: picture.height });
    this.draw();
  }

  /**
   * Show a map over it, or none.
   * @param {PageMap | null} map
   */
  setMap(map) {
    this.map = map;
    this.drawMap();
  }

  /** @param {GrayWindow} window */
  setWindow(window) {
    this.window = window;
    this.drawFilm();
  }

  /** @param {boolean} shown */
  setShown(shown) {
    this.shown = shown;
    this.overlayCanvas.hidden = !shown || this.map === null || this.picture === null;
  }

  /** Device pixels a CSS pixel. */
  get density() {
    return Math.min(SHARPEST, devicePixelRatio);
  }

  /** The stage's size in CSS pixels. */
  get room() {
    return { width: this.stage.clientWidth, height: this.stage.clientHeight };
  }

  /** Where the film lies, in CSS pixels of the stage; null without a film. */
  get place() {
    return this.size === null ? null : this.zoom.place(this.size, this.room);
  }

  /**
   * The point of the film under a point of the window, in shares of its width and height; it may lie outside 0..1.
   * @param {{ clientX: number, clientY: number }} point
   */
  at({ clientX, clientY }) {
    const box = this.stage.getBoundingClientRect();
    const place = this.place;
    if (place === null) throw new Error("Where there is no film there is no point of it.");
    return {
      x: (clientX - box.left - this.stage.clientLeft - place.left) / place.width,
      y: (clientY - box.top - this.stage.clientTop - place.top) / place.height,
    };
  }

  draw() {
    this.drawFilm();
    this.drawMap();
    const { place } = this;
    if (place !== null) for (const follow of this.followers) follow(place);
  }

  /**
   * follow(place) is called where the film lies anew.
   * @param {(place: Place) => void} follow
   */
  onPlace(follow) {
    this.followers.push(follow);
  }

  /**
   * Where the film lies in pixels of a canvas of the stage's size; null where there is nothing to draw on.
   * @param {HTMLCanvasElement} canvas
   */
  prepared(canvas) {
    const width = Math.round(this.stage.clientWidth * this.density);
    const height = Math.round(this.stage.clientHeight * this.density);
    if (this.size === null || width === 0 || height === 0) return null;
    // A stage may be a fraction of a pixel larger or smaller: a canvas that is stretched to it is a blurred film.
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    canvas.style.width = `${width / this.density}px`;
    canvas.style.height = `${height / this.density}px`;
    const place = this.zoom.place(this.size, { width, height });
    // At the film's own size its pixels are the canvas's, and nothing is drawn between them.
    const own = Math.abs(place.width - this.size.width) < 0.01;
    return own ? { ...place, left: Math.round(place.left), top: Math.round(place.top) } : place;
  }

  drawFilm() {
    const place = this.prepared(this.filmCanvas);
    if (place === null || this.picture === null) return;
    const { level, width: extent, inverted } = this.window;
    const plain = this.asIs || (level === AS_READ.level && extent === AS_READ.width && !inverted);
    const context = contextOf(this.filmCanvas);
    context.clearRect(0, 0, this.filmCanvas.width, this.filmCanvas.height);
    context.imageSmoothingEnabled = this.smooth && !this.asIs;
    context.imageSmoothingQuality = "high";
    if (plain) context.drawImage(this.picture, place.left, place.top, place.width, place.height);
    else this.drawWindowed(context, this.picture, place);
  }

  /**
   * The film in its window: what lies between its grays goes through the table, not what lies between shades.
   * @param {CanvasRenderingContext2D} context
   * @param {ImageBitmap} picture
   * @param {Place} place
   */
  drawWindowed(context, picture, place) {
    const grays = graysOf(picture);
    const { level, step } = grays.atScale(Math.max(place.width / grays.width, place.height / grays.height));
    // The last line of a halved picture may stand for less than the others: it is drawn beyond the film's edge.
    const whole = { ...place, width: (place.width * level.width * step) / grays.width, height: (place.height * level.height * step) / grays.height };
    const { width, height } = context.canvas;
    if (this.shades === null || this.shades.width !== width || this.shades.height !== height) this.shades = context.createImageData(width, height);
    paintGrays(new Uint32Array(this.shades.data.buffer), width, height, { place, whole }, level, windowTable(this.window));
    context.putImageData(this.shades, 0, 0);
  }

  drawMap() {
    this.setShown(this.shown);
    if (this.map === null || this.look === null) return;
    const place = this.prepared(this.overlayCanvas);
    if (place === null || this.picture === null) return;
    const { width, height } = this.overlayCanvas;
    const context = contextOf(this.overlayCanvas);
    if (this.buffer === null || this.buffer.width !== width || this.buffer.height !== height) this.buffer = context.createImageData(width, height);
    const pixels = new Uint32Array(this.buffer.data.buffer);
    const { values, range, signed } = this.map;
    const shares = scaled(values, range, signed);
    const grid = { rows: this.map.rows, columns: this.map.columns, nearest: this.look.nearest };
    paint(pixels, width, height, place, shares, grid, pixelTable(this.look.colours, { ...this.look, signed }));
    if (this.look.contours.length) {
      const longest = Math.max(place.width, place.height) / this.zoom.factor;
      contour(pixels, width, height, place, shares, grid,
        { signed, levels: this.look.contours, thickness: Math.max(1, longest / CONTOURS_A_SIDE) });
    }
    context.putImageData(this.buffer, 0, 0);
    this.drawn += 1;
    this.overlayCanvas.dataset.drawn = String(this.drawn);
  }
}
