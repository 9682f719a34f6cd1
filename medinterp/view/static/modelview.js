// The film as the model saw it: at its resolution and in its grays, in the film's place.

/** @import { Api } from "./api.js" */
/** @import { Viewer } from "./viewer.js" */

import { isAbort } from "./api.js";
import { byId, typing } from "./dom.js";
import { decoded } from "./viewer.js";

export class ModelView {
  /**
   * @param {Pick<Api, "blob">} api
   * @param {Viewer} viewer
   * @param {(error: unknown) => void} onProblem
   */
  constructor(api, viewer, onProblem) {
    this.api = api;
    this.viewer = viewer;
    this.onProblem = onProblem;
    this.stage = byId("stage");
    /** @type {ImageBitmap[]} */
    this.pictures = []; // by image
    this.shown = false;
    this.caption = byId("model-caption");
    this.button = byId("model-view");
    /** @type {string | null} */
    this.id = null; // of the report whose film can be shown
    /** @type {AbortController | null} */
    this.fetching = null; // of the picture that is on its way
    this.button.addEventListener("click", () => this.toggle());
    document.addEventListener("keydown", (event) => {
      if (typing(event)) return;
      if (event.key === "m") this.toggle();
      else if (event.key === "o") this.leave(); // the map is asked for
    });
    // What is set under the stage is to be seen: it is drawn on the film.
    for (const name of ["input", "change"]) byId("controls").addEventListener(name, () => this.leave());
  }

  /**
   * A report's film can be looked at from now on.
   * @param {string} id
   */
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
    for (const picture of this.pictures) picture?.close();
    this.pictures = [];
  }

  /** Back to the film. */
  leave() {
    this.fetching?.abort();
    this.fetching = null;
    if (this.shown) this.show(null);
  }

  /** @param {ImageBitmap | null} picture */
  show(picture) {
    this.shown = picture !== null;
    this.viewer.showInstead(picture);
    this.caption.hidden = !this.shown;
    if (picture) this.caption.textContent = `as the model saw it, ${picture.width} × ${picture.height}`;
    this.stage.classList.toggle("mi-as-model", this.shown);
    this.button.setAttribute("aria-pressed", String(this.shown));
  }

  async toggle() {
    if (this.id === null || !this.stage.checkVisibility()) return;
    if (this.shown || this.fetching !== null) {
      this.leave();
      return;
    }
    const { image } = this.viewer;
    try {
      this.pictures[image] ??= await this.fetch(image);
      this.show(this.pictures[image]);
    } catch (error) {
      if (isAbort(error)) return; // another film, or the key again
      this.fetching = null;
      this.onProblem(error);
    }
  }

  /** @param {number} image */
  async fetch(image) {
    const fetching = new AbortController();
    this.fetching = fetching;
    const query = new URLSearchParams({ view: "model", ...(image ? { image: String(image) } : {}) });
    const picture = await decoded(await this.api.blob(`/reports/${this.id}/film.png?${query}`, fetching.signal));
    if (picture === null) throw new Error("What the server sent as the model's view is not a picture.");
    if (fetching.signal.aborted) picture.close();
    fetching.signal.throwIfAborted();
    this.fetching = null;
    return picture;
  }
}
