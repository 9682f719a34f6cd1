// The film as the model saw it: at its resolution and in its grays, in the film's place.

import { byId, decodedImage } from "./dom.js";

export class ModelView {
  constructor(api, onProblem) {
    this.api = api;
    this.onProblem = onProblem;
    this.stage = byId("stage");
    this.image = byId("model-film");
    this.caption = byId("model-caption");
    this.button = byId("model-view");
    this.id = null; // of the report whose film can be shown
    this.fetching = null; // the AbortController of the picture that is on its way
    this.button.addEventListener("click", () => this.toggle());
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("textarea, input, select")) return;
      if (event.key === "m") this.toggle();
      else if (event.key === "o") this.leave(); // the map is asked for
    });
    // What is set under the stage is to be seen: it is drawn on the film.
    for (const name of ["input", "change"]) byId("controls").addEventListener(name, () => this.leave());
  }

  /** A report's film can be looked at from now on. */
  open(id) {
    this.close();
    this.id = id;
    this.button.hidden = false;
  }

  /** The report is gone, and with it the picture. */
  close() {
    this.id = null;
    this.button.hidden = true;
    this.leave();
    if (this.image.src.startsWith("blob:")) URL.revokeObjectURL(this.image.src);
    this.image.removeAttribute("src");
  }

  /** Back to the film. */
  leave() {
    this.fetching?.abort();
    this.fetching = null;
    this.show(false);
  }

  show(on) {
    this.image.hidden = this.caption.hidden = !on;
    this.stage.classList.toggle("mi-as-model", on);
    this.button.setAttribute("aria-pressed", String(on));
  }

  async toggle() {
    if (this.id === null || !this.stage.checkVisibility()) return;
    if (!this.image.hidden || this.fetching !== null) {
      this.leave();
      return;
    }
    try {
      if (!this.image.src) await this.fetch();
      this.show(true);
    } catch (error) {
      if (error.name === "AbortError") return; // another film, or the key again
      this.fetching = null;
      this.onProblem(error);
    }
  }

  async fetch() {
    const fetching = new AbortController();
    this.fetching = fetching;
    const decoded = await decodedImage(await this.api.blob(`/reports/${this.id}/film.png?view=model`, fetching.signal));
    if (decoded === null) throw new Error("What the server sent as the model's view is not a picture.");
    if (fetching.signal.aborted) URL.revokeObjectURL(decoded.url);
    fetching.signal.throwIfAborted();
    this.fetching = null;
    this.image.src = decoded.url;
    this.caption.textContent = `as the model saw it, ${decoded.width} × ${decoded.height}`;
  }
}
