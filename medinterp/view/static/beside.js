// A second view beside the first, zoomed and moved with it: another method, the other film, or what was pinned (another
// word, or another report); and the difference of both.

/** @import { AskedMethod, Drawn, Explanation, PageMap } from "./types" */
/** @import { Pack } from "./packs.js" */
/** @import { Viewer } from "./viewer.js" */
/**
 * What can stand there; film: a picture of the report's, or one of its own.
 * @typedef {{ pack: Pack | null, tokens: number[], subject: string, title: string, options: Drawn, film: ImageBitmap,
 *   which: string }} Source
 */

import { byId, compact, make, typing } from "./dom.js";
import { FilmView } from "./film.js";
import { mapOf } from "./packs.js";
import { colours } from "./settings.js";
import { nameOf } from "./viewer.js";

export class Beside {
  /**
   * @param {Viewer} viewer the first view
   * @param {(method: string, image: number) => Promise<Pack | null>} packFor resolves with a pack of the report
   * @param {(error: unknown) => void} onProblem
   */
  constructor(viewer, packFor, onProblem) {
    this.viewer = viewer;
    this.packFor = packFor;
    this.onProblem = onProblem;
    this.view = new FilmView(byId("second-stage"), byId("second-film"), byId("second-overlay"), viewer.zoom);
    this.select = byId("second-what");
    this.button = byId("beside");
    /** @type {(Source & { report: string }) | null} */
    this.pinned = null;
    /** @type {AskedMethod[]} */
    this.methods = [];
    /** @type {Explanation | null} */
    this.explanation = null;
    /** @type {object | null} */
    this.drawing = null; // stands for what is to be drawn next
    this.button.addEventListener("click", () => this.toggle());
    this.select.addEventListener("change", () => this.draw());
    byId("difference").addEventListener("change", () => this.draw());
    byId("pin").addEventListener("click", () => this.pin());
    document.addEventListener("keydown", (event) => {
      if (event.key === "c" && !typing(event) && !this.button.disabled) this.toggle();
    });
    byId("second-stage").addEventListener("wheel", (event) => viewer.wheeled(event), { passive: false });
  }

  get open() {
    return !byId("second").hidden;
  }

  toggle() {
    byId("second").hidden = this.open;
    this.button.setAttribute("aria-pressed", String(this.open));
    byId("stages").classList.toggle("mi-two", this.open);
    if (this.open) this.fill();
  }

  /**
   * A report with these methods (computed: [{ name, title }]) is there, or none.
   * @param {Explanation | null} explanation
   * @param {AskedMethod[]} methods
   */
  use(explanation, methods) {
    this.explanation = explanation;
    this.methods = methods;
    this.button.disabled = explanation === null && this.pinned === null;
    if (explanation === null) this.show(null); // the film that it shows is let go
    if (explanation === null && this.open && this.pinned === null) this.toggle();
    if (this.open) this.fill();
  }

  /** The list of what can stand there. */
  fill() {
    const { method, films, image } = this.viewer;
    const others = this.methods.filter(({ name }) => name !== method?.name);
    const choices = [
      ...(films.length > 1 ? [["image", nameOf(1 - image)]] : []),
      ...others.map(({ name, title }) => [`method:${name}`, title]),
      ...(this.pinned ? [["pinned", `Pinned: ${this.pinned.subject}, ${this.pinned.title}`]] : []),
    ];
    const before = this.select.value;
    this.select.replaceChildren(...choices.map(([value, title]) => make("option", { value }, title)));
    if (choices.some(([value]) => value === before)) this.select.value = before;
    this.draw();
  }

  /** Keep what is selected now, with its film: it stays when another word, method or report comes. */
  async pin() {
    const { viewer } = this;
    if (viewer.map === null || this.explanation === null) return;
    const { explanation } = this;
    const kept = { pack: viewer.pack, tokens: viewer.tokens, subject: viewer.subject, title: viewer.title,
      options: viewer.options, report: explanation.id,
      which: viewer.films.length > 1 ? `Pinned: ${nameOf(viewer.image).toLowerCase()}` : "Pinned" };
    const film = await createImageBitmap(viewer.films[viewer.image]);
    if (this.explanation !== explanation) { // it was forgotten meanwhile, or another one is open
      film.close();
      return;
    }
    this.pinned?.film.close();
    this.pinned = { ...kept, film };
    this.fill();
    this.select.value = "pinned";
    this.draw();
  }

  /**
   * Forget what was pinned of a report (it was deleted), or of any.
   * @param {string | null} id
   */
  unpin(id = null) {
    if (this.pinned === null || (id !== null && this.pinned.report !== id)) return;
    this.pinned.film.close();
    this.pinned = null;
    this.view.setFilm(null);
    this.view.setMap(null);
    if (this.open) this.fill();
  }

  /**
   * What stands beside, as { pack, tokens, subject, title, options, film }; null for nothing.
   * @returns {Promise<Source | null>}
   */
  async source() {
    const { viewer } = this;
    const what = this.select.value;
    const { tokens, subject, options } = viewer;
    if (what === "pinned") return this.pinned;
    if (this.explanation === null) return null;
    if (what === "image") {
      const image = 1 - viewer.image;
      if (viewer.method === null) return null;
      const pack = await this.packFor(viewer.method.name, image);
      return { pack, tokens, subject, title: viewer.title, options, film: viewer.films[image], which: nameOf(image) };
    }
    const name = what.replace("method:", "");
    const method = this.methods.find((one) => one.name === name);
    if (!method) return null;
    const pack = await this.packFor(name, viewer.image);
    return { pack, tokens, subject, title: method.title, options: { ...options, quantity: "relevancy" }, film: viewer.films[viewer.image],
      which: viewer.films.length > 1 ? nameOf(viewer.image) : "" };
  }

  /** Draw again: something of the first view is another. */
  async draw() {
    if (!this.open) return;
    const drawing = {};
    this.drawing = drawing;
    try {
      const source = await this.source();
      if (this.drawing === drawing) this.show(source);
    } catch (error) {
      if (this.drawing === drawing) this.onProblem(error);
    }
  }

  /** @param {Source | null} source */
  show(source) {
    const { viewer } = this;
    this.drawing = null;
    const empty = byId("second-empty");
    const map = source !== null && source.pack !== null ? mapOf(source.pack, source.tokens, { ...source.options, scale: viewer.scale }) : null;
    const wanted = byId("difference").checked;
    const difference = wanted && map !== null && viewer.map !== null ? differenceOf(viewer.map, map) : null;
    empty.hidden = source !== null;
    empty.textContent = "Nothing to stand beside it: have another method computed, or pin a word.";
    if (this.view.picture !== (source?.film ?? null)) this.view.setFilm(source?.film ?? null);
    const drawn = difference ?? (wanted ? null : map);
    this.view.look = { ...viewer.look(drawn?.signed ?? false), ...(difference ? { colours: colours("", true) } : {}) };
    this.view.shown = byId("show").checked;
    this.view.setWindow(viewer.view.window);
    this.view.setMap(drawn);
    const told = map === null ? null : source;
    byId("second-which").textContent = source?.which ?? "";
    byId("second-which").hidden = !source?.which;
    byId("second-subject").textContent = told === null ? "" : told.subject;
    byId("second-method").textContent = told === null ? "" : difference ? `left less right: ${viewer.title} − ${told.title}` : told.title;
    const same = source !== null && source.film === viewer.films[viewer.image];
    byId("second-facts").textContent = facts(map, wanted, difference !== null, same);
    byId("second-facts").title = byId("second-facts").textContent ?? "";
  }
}

/**
 * What is said beside the second view. same: both are of one picture.
 * @param {PageMap | null} map
 * @param {boolean} wanted the difference is
 * @param {boolean} drawn and is drawn
 * @param {boolean} same
 */
function facts(map, wanted, drawn, same) {
  if (!wanted) return map === null ? "" : `Colours: ${compact(map.range[0])} to ${compact(map.range[1])}`;
  if (!drawn) return "No difference: maps of different grids cannot be subtracted.";
  const kind = "Red: stronger on the left, blue: stronger here, each as a share of its own range.";
  return same ? kind : `${kind} Two pictures: nothing aligns their anatomy.`;
}

/**
 * The first map less the second, each as a share of its range's top, as a signed map; null where the grids differ.
 * @param {PageMap} one
 * @param {PageMap} other
 * @returns {PageMap | null}
 */
export function differenceOf(one, other) {
  if (one.rows !== other.rows || one.columns !== other.columns) return null;
  const share = (/** @type {PageMap} */ { values, range }, /** @type {number} */ cell) => (range[1] > 0 ? Math.max(-1, Math.min(1, values[cell] / range[1])) : 0);
  const values = Float32Array.from(one.values, (_, cell) => share(one, cell) - share(other, cell));
  return { values, rows: one.rows, columns: one.columns, signed: true, range: [-1, 1] };
}
