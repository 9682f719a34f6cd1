// The film and, over it, the picture that the server drew for the selection. The server's
// overlay.png is the one definition of a map's colours: nothing is blended here.

import { byId, compact, debounced, decodedImage, make } from "./dom.js";
import { Zoom } from "./zoom.js";

const SETTLE = 120; // ms that a slider rests before a picture is asked for
const FAINT = 0.05; // of the report's range: below it the colours cannot be seen on a film
const SIZE_STEP = 512; // px; a film of 2048 is not sent whole to a phone

export class Viewer {
  constructor(api, onProblem) {
    this.api = api;
    this.onProblem = onProblem;
    this.film = byId("film");
    this.overlay = byId("overlay");
    this.picture = byId("picture");
    this.zoom = new Zoom(byId("stage"), this.picture, () => this.drawSharper());
    this.path = null; // "/reports/{id}/words/{n}/overlay.png" and the like
    this.query = {};
    this.method = null; // { name, title } of the maps that are drawn
    this.subject = ""; // what is selected; it is named on the stage once its picture is there
    this.running = null; // the AbortController of the picture being drawn
    this.previewed = null; // the blob on the screen before it was read
    this.maps = null;
    this.map = null; // the selection's values, where they are known
    this.facts = []; // nodes: the film's size, and what was done to the file
    this.longest = 0; // the film's longer side, in pixels
    this.drawn = 0; // the longer side of the overlay that was asked for last
    this.drawSoon = debounced(() => this.draw(), SETTLE);

    byId("zoom-in").addEventListener("click", () => this.zoom.by(1.25));
    byId("zoom-out").addEventListener("click", () => this.zoom.by(1 / 1.25));
    byId("zoom-fit").addEventListener("click", () => this.zoom.fit());
    byId("opacity").addEventListener("input", () => {
      this.showSettings();
      this.drawSoon();
    });
    for (const name of ["colormap", "contours", "sinks", "scale"]) {
      byId(name).addEventListener("change", () => {
        this.showSettings();
        this.draw();
      });
    }
    this.picture.addEventListener("pointermove", (event) => this.readOut(event));
    this.picture.addEventListener("pointerleave", () => byId("facts").replaceChildren(...this.facts));
    byId("show").addEventListener("change", () => this.showOverlay());
    document.addEventListener("keydown", (event) => {
      if (event.key !== "o" || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.closest("textarea, input, select")) return;
      byId("show").checked = !byId("show").checked;
      this.showOverlay();
    });
    byId("quantity").addEventListener("change", () => this.draw());
    this.showSettings();
  }

  /** "disagreement" of a consensus whose reader asked for it; of all other maps their relevancy. */
  get quantity() {
    return byId("quantity-disagreement").checked ? "disagreement" : "relevancy";
  }

  get scale() {
    return byId("scale-map").checked ? "map" : "report";
  }

  showSettings() {
    byId("opacity-value").textContent = `${Math.round(byId("opacity").value * 100)} %`;
    this.showKey();
  }

  /** Maps of the report (or null) and the words that are selected. */
  showNumbers(maps, words) {
    this.maps = maps;
    this.map = maps === null ? null : maps.joined(words);
    this.showKey();
  }

  /**
   * The colour key: numbers at its ends for the report's shared range, words for a stretched one, a tick where
   * the selection's strongest cell stands; and what the picture can be compared with.
   */
  showKey() {
    const whole = this.scale === "report";
    const shared = this.maps !== null && whole;
    const signed = this.maps?.signed ?? false;
    const low = shared ? compact(this.maps.low) : "low";
    const high = shared ? `${this.maps.exceeded ? "≥ " : ""}${compact(this.maps.high)}` : "high";
    const strip = `colormaps/${byId("colormap").value || (signed ? "diverging" : "magma")}.png`;
    if (byId("key-strip").getAttribute("src") !== strip) byId("key-strip").src = strip;
    byId("key").classList.toggle("mi-signed", signed);
    byId("key-low").textContent = signed ? `against ${shared ? low : ""}` : low;
    byId("key-high").textContent = signed ? `${shared ? high : ""} for` : high;
    const share = shared && this.map !== null ? this.maps.peakShare(this.map) : null;
    const tick = byId("key-tick");
    tick.hidden = share === null;
    const place = Math.sqrt(Math.min(1, share ?? 0)); // as the colours stand, see medinterp.render.scaled
    tick.style.left = `${100 * (this.maps?.signed ? (1 + place) / 2 : place)}%`;
    const note = byId("scale-note");
    note.classList.toggle("mi-warning", !whole);
    if (!whole) {
      note.textContent = "Stretched to this word alone: a faint map looks as strong as a clear one. Do not compare words.";
    } else if (share !== null && share < FAINT) {
      note.textContent = `Faint: the strongest cell reaches ${Math.round(100 * share)} % of the report's range. `
        + "“This word” stretches it.";
    } else if (signed) {
      note.textContent = "One square-root colour range for the report. Without a cell “against” it, a word is likelier.";
    } else {
      note.textContent = "One square-root colour range for the whole report: words can be compared.";
    }
  }

  /** The cell under the pointer, and the selection's value there. */
  readOut(event) {
    if (!this.maps) return;
    const box = this.picture.getBoundingClientRect();
    const inside = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    const row = inside((event.clientY - box.top) / box.height, this.maps.rows);
    const column = inside((event.clientX - box.left) / box.width, this.maps.columns);
    const value = this.map === null ? "" : `: ${compact(this.map[row * this.maps.columns + column])}`;
    byId("facts").textContent = `row ${row + 1}, column ${column + 1}${value}`;
  }

  /** The film's size and what was done to the file; where the film is small the latter stands under it. */
  setFacts(size, notes) {
    this.facts = [size, make("span", { class: "mi-facts-notes" }, ["", ...notes].join(" · "))];
    byId("facts").replaceChildren(...this.facts);
    byId("notes").textContent = notes.join(" · ");
  }

  /** Show a film that has not been read: the browser draws it if it can. */
  async preview(blob, name) {
    this.forgetOverlay();
    this.previewed = blob;
    const decoded = await decodedImage(blob);
    if (this.previewed !== blob) return; // another film was chosen meanwhile
    const shown = decoded !== null;
    this.swap(this.film, decoded && decoded.url);
    this.picture.hidden = !shown;
    byId("empty").hidden = shown;
    byId("empty").textContent = shown ? "" : `${name}: no preview of this format. It is shown once it is read.`;
    this.setFacts(shown ? `${decoded.width} × ${decoded.height}, as chosen` : "", []);
    if (shown) this.fit(decoded);
  }

  /** Show the film as it was read: upright, dense is bright. */
  async showFilm(id, notes, signal) {
    const decoded = await decodedImage(await this.api.blob(`/reports/${id}/film.png`, signal));
    if (decoded === null) throw new Error("The film that the server sent is not a picture.");
    this.previewed = null;
    this.swap(this.film, decoded.url);
    this.picture.hidden = false;
    byId("empty").hidden = true;
    this.setFacts(`${decoded.width} × ${decoded.height}, as read`, notes);
    this.fit(decoded);
  }

  /** The picture takes the film's own aspect ratio, as large as the stage allows. */
  fit({ width, height }) {
    this.longest = Math.max(width, height);
    this.picture.style.setProperty("--mi-aspect", width / height);
    this.zoom.fit();
  }

  /** Put an image in another's place, and let go of the old one. */
  swap(image, url) {
    if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
    if (url === null) image.removeAttribute("src");
    else image.src = url;
  }

  /** Draw another selection: `path` is its overlay.png, `query` what selects it, `subject` its name. */
  select(path, query, subject) {
    this.path = path;
    this.query = query;
    this.subject = subject;
    return this.draw();
  }

  /** Draw by another method from now on. */
  useMethod(method) {
    this.method = method;
    byId("quantity-relevancy").checked = true;
    return this.draw();
  }

  forgetOverlay() {
    this.running?.abort();
    this.path = null;
    this.takeOverlayDown();
    byId("drawing").hidden = true;
  }

  takeOverlayDown() {
    this.swap(this.overlay, null);
    this.overlay.hidden = true;
    this.overlay.alt = "";
    byId("subject").textContent = "";
    byId("drawn-method").textContent = "";
  }

  /** Ask the server for the picture of the selection; the latest request wins. */
  async draw() {
    if (!this.path) return;
    this.running?.abort();
    const running = new AbortController();
    this.running = running;
    const { method, subject, quantity } = this;
    const title = quantity === "disagreement" ? `${method.title}, disagreement` : method.title;
    const query = new URLSearchParams({
      ...this.query,
      method: method.name,
      opacity: byId("opacity").value,
      contours: String(byId("contours").checked),
      scale: this.scale,
      without_sinks: String(byId("sinks").checked),
      quantity,
    });
    if (byId("colormap").value) query.set("colormap", byId("colormap").value); // or what suits the method
    this.drawn = this.wantedSize();
    if (this.drawn < this.longest) query.set("size", this.drawn);
    const slow = setTimeout(() => { byId("drawing").hidden = false; }, 150);
    try {
      const blob = await this.api.blob(`${this.path}?${query}`, running.signal);
      const decoded = await decodedImage(blob);
      if (decoded === null) throw new Error("The overlay that the server sent is not a picture.");
      if (running.signal.aborted) {
        URL.revokeObjectURL(decoded.url);
        return;
      }
      this.swap(this.overlay, decoded.url);
      this.overlay.alt = `The film with the map of ${subject} by ${title}`;
      byId("subject").textContent = subject;
      byId("drawn-method").textContent = title;
      this.showOverlay();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.takeOverlayDown(); // another selection's picture must not stand for this one
      this.onProblem(error);
    } finally {
      clearTimeout(slow);
      if (this.running === running) byId("drawing").hidden = true;
    }
  }

  /** Pixels that the longer side needs on this screen at this zoom, in steps; the film's own at most. */
  wantedSize() {
    const shown = Math.max(this.picture.offsetWidth, this.picture.offsetHeight) * devicePixelRatio * this.zoom.factor;
    return Math.min(this.longest, Math.ceil(shown / SIZE_STEP) * SIZE_STEP);
  }

  /** Zoomed in beyond the picture that is shown: ask for a larger one once the zoom rests. */
  drawSharper() {
    if (this.path && this.wantedSize() > this.drawn) this.drawSoon();
  }

  showOverlay() {
    this.overlay.hidden = !byId("show").checked || !this.overlay.src;
  }
}
