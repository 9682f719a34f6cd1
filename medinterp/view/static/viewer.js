// The film and, over it, the map of the selection: how both are drawn, the colour key, the numbers under the pointer.

/** @import { Drawn, GuestMap, Look, PageMap, Point, ReadFilm } from "./types" */
/** @import { Pack } from "./packs.js" */

import { byId, compact, make, typing } from "./dom.js";
import { FilmView } from "./film.js";
import { Key } from "./key.js";
import { mapOf } from "./packs.js";
import { CONTOUR_LEVELS, colourAt, colours } from "./settings.js";
import { STEP, Zoom } from "./zoom.js";

/** @type {Record<string, [number, number]>} */
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Viewer {
  /** @param {() => void} onLook maps are to be drawn otherwise */
  constructor(onLook) {
    this.onLook = onLook;
    this.stage = byId("stage");
    this.zoom = new Zoom();
    this.view = new FilmView(this.stage, byId("film"), byId("overlay"), this.zoom);
    /** @type {ImageBitmap[]} */
    this.films = []; // pictures of the report's films, by image
    this.image = 0; // which of them is shown
    /** @type {Blob | null} */
    this.previewed = null; // the blob on the screen before it was read
    /** @type {ReadFilm[] | null} */
    this.about = null; // what is known of them, by image; null before they are read
    /** @type {(string | Node)[]} */
    this.facts = []; // nodes: the film's size, and what was done to the file
    /** @type {Pack | null} */
    this.pack = null; // of the report, the method and the image on the screen
    /** @type {{ name: string, title: string, unit: string } | null} */
    this.method = null; // of the maps that are drawn
    /** @type {number[]} */
    this.tokens = []; // what is selected
    this.subject = "";
    /** @type {PageMap | null} */
    this.map = null; // what is drawn
    this.key = new Key();
    /** @type {GuestMap | null} */
    this.guest = null; // a map that is drawn in the selection's place: one head's

    byId("zoom-in").addEventListener("click", () => this.zoom.by(STEP));
    byId("zoom-out").addEventListener("click", () => this.zoom.by(1 / STEP));
    byId("zoom-fit").addEventListener("click", () => this.zoom.fit());
    byId("zoom-own").addEventListener("click", () => this.ownSize());
    for (const field of [byId("opacity"), byId("threshold")]) field.addEventListener("input", () => this.lookChanged());
    for (const name of ["colormap", "contours", "sinks", "scale", "quantity", "show", "nearest", "cell-grid"]) {
      byId(name).addEventListener("change", () => this.lookChanged());
    }
    document.addEventListener("keydown", (event) => {
      if (event.key !== "o" || typing(event)) return;
      byId("show").checked = !byId("show").checked;
      this.lookChanged();
    });
    this.stage.addEventListener("wheel", (event) => this.wheeled(event), { passive: false });
    this.stage.addEventListener("keydown", (event) => this.keyed(event));
    this.stage.addEventListener("pointermove", (event) => this.readOut(event));
    this.stage.addEventListener("pointerleave", () => byId("facts").replaceChildren(...this.facts));
    this.lookChanged();
  }

  // How maps are drawn

  /**
   * "disagreement" of a consensus whose reader asked for it; of all other maps their relevancy.
   * @returns {Drawn["quantity"]}
   */
  get quantity() {
    return byId("quantity-disagreement").checked ? "disagreement" : "relevancy";
  }

  /** @returns {Drawn["scale"]} */
  get scale() {
    return byId("scale-map").checked ? "map" : "report";
  }

  /**
   * What of the pack is drawn.
   * @returns {Drawn}
   */
  get options() {
    return { quantity: this.quantity, withoutSinks: byId("sinks").checked, scale: this.scale };
  }

  /**
   * How a map is painted.
   * @param {boolean} signed
   * @returns {Look}
   */
  look(signed) {
    const table = colours(byId("colormap").value, signed);
    const contours = byId("contours").checked
      ? CONTOUR_LEVELS.map((level) => ({ level, colour: colourAt(table, level) })) : [];
    return { colours: table, opacity: Number(byId("opacity").value), threshold: Number(byId("threshold").value), contours,
      nearest: byId("nearest").checked };
  }

  lookChanged() {
    const percent = (/** @type {"opacity" | "threshold"} */ name) => `${Math.round(Number(byId(name).value) * 100)} %`;
    byId("opacity-value").textContent = percent("opacity");
    byId("threshold-value").textContent = Number(byId("threshold").value) ? percent("threshold") : "none";
    this.draw();
    this.onLook();
  }

  // The film

  /**
   * Show a film that has not been read: the browser draws it if it can.
   * @param {Blob} blob
   * @param {string} name
   */
  async preview(blob, name) {
    this.forget();
    this.previewed = blob;
    const picture = await decoded(blob);
    if (this.previewed !== blob) return; // another film was chosen meanwhile
    byId("empty").textContent = picture ? "" : `${name}: no preview of this format. It is shown once it is read.`;
    this.setFacts(picture ? `${picture.width} × ${picture.height} pixels, not read yet` : "", []);
    this.about = null;
    this.replaceFilms(picture ? [picture] : []);
  }

  /**
   * Show the films as they were read: upright, dense is bright. pictures: by image, in a file maybe smaller than read;
   * about: their { width, height, notes }.
   * @param {ImageBitmap[]} pictures
   * @param {ReadFilm[]} about
   */
  showFilms(pictures, about) {
    this.previewed = null;
    this.about = about;
    this.replaceFilms(pictures);
  }

  /** @param {number} image */
  showImage(image) {
    this.image = image;
    const picture = this.films[image] ?? null;
    byId("empty").hidden = picture !== null;
    this.view.setFilm(picture);
    if (this.previewed === null && this.about && picture) {
      const { width, height, notes } = this.about[image];
      const here = width === picture.width && height === picture.height ? "" : `, here ${picture.width} × ${picture.height}`;
      this.setFacts(`${width} × ${height} pixels${here}`, notes);
    }
    for (const at of [0, 1]) byId(`image-${at}`).setAttribute("aria-checked", String(at === image));
    byId("images").hidden = byId("which").hidden = this.films.length < 2;
    byId("which").textContent = nameOf(image);
    this.showSides();
  }

  /** What is known of the shown film, once it was read. */
  get measured() {
    return this.about?.[this.image] ?? null;
  }

  /** R and L stand where the patient's sides are, as films hang; with a question mark where the file does not say so. */
  showSides() {
    const film = this.measured;
    for (const [name, letter] of /** @type {const} */ ([["side-right", "R"], ["side-left", "L"]])) {
      const node = byId(name);
      node.hidden = film === null || this.films.length === 0;
      node.textContent = film?.sides_told ? letter : `${letter}?`;
      node.title = film?.sides_told ? "The patient’s side, by the file’s header"
        : "The file does not say which side is which: films hang with the patient’s right on the left, and the report is read so";
    }
  }

  /**
   * Another picture in the film's place (the model's view of it), or the film again.
   * @param {ImageBitmap | null} picture
   */
  showInstead(picture) {
    if (picture === null) this.view.setFilm(this.films[this.image] ?? null);
    else this.view.setFilm(picture, { asIs: true, size: this.films[this.image] });
    this.view.setShown(picture === null && byId("show").checked);
  }

  /**
   * Other films, and the old ones' pictures are let go.
   * @param {ImageBitmap[]} pictures
   */
  replaceFilms(pictures) {
    const old = this.films;
    this.films = pictures;
    this.showImage(0);
    this.zoom.fit();
    for (const film of old) film.close();
  }

  /**
   * The film's size and what was done to the file; where the film is small the latter stands under it.
   * @param {string} size
   * @param {string[]} notes
   */
  setFacts(size, notes) {
    this.facts = [size, make("span", { class: "mi-facts-notes" }, ["", ...notes].join(" · "))];
    byId("facts").replaceChildren(...this.facts);
    byId("notes").textContent = notes.join(" · ");
  }

  /** Nothing of a film, a report or a map is left on the stage. */
  forget() {
    this.forgetMap();
    this.about = null;
    this.replaceFilms([]);
    this.setFacts("", []);
  }

  // The map

  /**
   * The maps of another method, or null while they are on their way.
   * @param {Pack | null} pack
   * @param {{ name: string, title: string, unit: string }} method
   */
  usePack(pack, method) {
    if (method !== this.method) byId("quantity-relevancy").checked = true;
    this.method = method;
    this.pack = pack;
    this.guest = null;
    byId("sinks-label").hidden = pack === null || !pack.hasSinks;
    this.draw();
  }

  /**
   * Draw another selection: the tokens that wrote it, and its name.
   * @param {number[]} tokens
   * @param {string} subject
   */
  select(tokens, subject) {
    this.tokens = tokens;
    this.subject = subject;
    this.guest = null;
    this.draw();
  }

  /**
   * Draw another map of the selection in the method's place ({ ...map, title }), or the method's again (null).
   * @param {GuestMap | null} guest
   */
  lend(guest) {
    this.guest = guest;
    this.draw();
  }

  /** No selection and no maps. */
  forgetMap() {
    this.pack = null;
    this.select([], "");
  }

  get title() {
    if (this.guest !== null) return this.guest.title;
    const title = this.method?.title ?? "";
    return this.quantity === "disagreement" ? `${title}, disagreement` : title;
  }

  draw() {
    this.map = this.guest ?? (this.pack === null ? null : mapOf(this.pack, this.tokens, this.options));
    byId("drawing").hidden = this.pack !== null || this.tokens.length === 0;
    this.view.look = this.look(this.map?.signed ?? this.pack?.signed ?? false);
    this.view.shown = byId("show").checked;
    this.view.setMap(this.map);
    const drawn = this.map !== null;
    byId("overlay").setAttribute("aria-label",
      drawn ? `The map of ${this.subject} by ${this.title}` : "No map is drawn");
    byId("subject").textContent = drawn ? this.subject : "";
    byId("drawn-method").textContent = drawn ? `${this.title}${byId("nearest").checked ? ", cell by cell" : ""}` : "";
    this.key.show(this);
  }

  // The pointer and the keys

  /**
   * The cell under the pointer, and the selection's value there.
   * @param {PointerEvent} event
   */
  readOut(event) {
    if (this.pack === null || this.view.place === null) return;
    const { x, y } = this.view.at(event);
    if (x < 0 || y < 0 || x >= 1 || y >= 1) {
      byId("facts").replaceChildren(...this.facts);
      return;
    }
    const { rows, columns } = this.pack;
    const [row, column] = [Math.floor(y * rows), Math.floor(x * columns)];
    const value = this.map === null ? "" : `: ${compact(this.map.values[row * columns + column])}`;
    byId("facts").textContent = `row ${row + 1}, column ${column + 1}${value}`;
  }

  /** @param {WheelEvent} event */
  wheeled(event) {
    if (this.view.place === null) return;
    event.preventDefault();
    this.nearer(event.deltaY < 0 ? STEP : 1 / STEP, this.view.at(event));
  }

  /** A pixel of the film on each pixel of the screen. */
  ownSize() {
    const { size, room, density } = this.view;
    if (size === null) return;
    const fitted = Math.min(room.width / size.width, room.height / size.height);
    this.zoom.set(1 / density / fitted, this.zoom.x, this.zoom.y);
  }

  /**
   * Zoom about a point of the film.
   * @param {number} step
   * @param {Point} point
   */
  nearer(step, point) {
    const { size, room } = this.view;
    if (size !== null) this.zoom.about(step, point, size, room);
  }

  /**
   * Move by CSS pixels of the stage.
   * @param {number} dx
   * @param {number} dy
   */
  move(dx, dy) {
    const { place, size, room } = this.view;
    if (place === null || size === null) return;
    this.zoom.move(-dx / place.width, -dy / place.height, size, room);
  }

  /** @param {KeyboardEvent} event */
  keyed(event) {
    if (event.target !== this.stage || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = MOVES[event.key];
    if (event.key === "+") this.zoom.by(STEP);
    else if (event.key === "-") this.zoom.by(1 / STEP);
    else if (event.key === "0" || event.key === "=") this.zoom.fit();
    else if (event.key === "x") this.ownSize();
    else if (step && this.zoom.factor > 1) this.move(-40 * step[0], -40 * step[1]);
    else return;
    event.preventDefault();
  }
}

/**
 * The picture of a file, or null for a format that the browser cannot draw.
 * @param {Blob} blob
 */
export async function decoded(blob) {
  try {
    return await createImageBitmap(blob);
  } catch (error) {
    if (!(error instanceof DOMException) || error.name !== "InvalidStateError") throw error;
    return null;
  }
}

/**
 * What a report's film is called.
 * @param {number} image
 */
export function nameOf(image) {
  return image === 0 ? "Current film" : "Prior film";
}
