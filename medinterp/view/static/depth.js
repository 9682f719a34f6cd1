// All the grays of a film, fetched once somebody windows it: the picture that comes with a report has 8 bits of them.

/** @import { Api } from "./api.js" */
/** @import { ReadFilm } from "./types" */
/** @import { Viewer } from "./viewer.js" */

import { isAbort } from "./api.js";
import { deepen, graysOf, graysOfPng } from "./grays.js";

export class Depth {
  /**
   * @param {Pick<Api, "blob">} api
   * @param {Viewer} viewer
   * @param {{ onDeep: () => void, onProblem: (error: unknown) => void }} does onDeep: a film has all its grays now
   */
  constructor(api, viewer, { onDeep, onProblem }) {
    this.api = api;
    this.viewer = viewer;
    this.onDeep = onDeep;
    this.onProblem = onProblem;
    /** @type {string | null} */
    this.id = null; // of the report
    /** @type {Pick<ReadFilm, "bits">[]} */
    this.films = [];
    /** @type {Set<number>} */
    this.asked = new Set(); // images
    /** @type {AbortController | null} */
    this.fetching = null;
  }

  /**
   * A report's films, or none.
   * @param {string | null} id
   * @param {Pick<ReadFilm, "bits">[]} films
   */
  open(id, films) {
    this.fetching?.abort();
    this.fetching = new AbortController();
    this.id = id;
    this.films = films;
    this.asked.clear();
  }

  /** The shown film is windowed. */
  async want() {
    const { viewer: { image }, fetching } = this;
    const picture = this.viewer.films[image];
    if (this.id === null || fetching === null || !picture || this.films[image]?.bits !== 16) return;
    if (this.asked.has(image) || graysOf(picture).bits === 16) return;
    this.asked.add(image);
    try {
      const query = new URLSearchParams({ depth: "16", ...(image ? { image: String(image) } : {}) });
      const grays = await graysOfPng(await this.api.blob(`/reports/${this.id}/film.png?${query}`, fetching.signal));
      if (fetching.signal.aborted) return;
      deepen(picture, grays);
      this.onDeep();
    } catch (error) {
      this.asked.delete(image); // the next step of the window asks again
      if (!isAbort(error)) this.onProblem(error);
    }
  }
}
