// The windows and tables by which a DICOM can be shown: which was used, and the choice of another.

/** @import { ReadFilm } from "./types" */

import { byId, make } from "./dom.js";

export class Windows {
  /** @param {(name: string) => void} onChoose the film is to be read again by that window */
  constructor(onChoose) {
    this.row = byId("windows");
    this.select = byId("window");
    /** @type {ReadFilm | null} */
    this.film = null;
    this.focused = false;
    this.select.addEventListener("change", () => onChoose(this.select.value));
  }

  /**
   * Show what a film that was read can be shown by; where there is no choice, nothing.
   * @param {ReadFilm} film
   */
  show(film) {
    this.film = film;
    const choices = [...film.windows];
    if (film.window !== null && !choices.some((choice) => choice.name === film.window)) {
      choices.unshift({ name: film.window, label: `as asked: ${film.window}` });
    }
    this.select.replaceChildren(...choices.map((choice) => make("option", { value: choice.name }, choice.label)));
    this.row.hidden = choices.length < 2;
    this.restore();
  }

  /** The one that was used stands in the field again. */
  restore() {
    if (this.film !== null && this.film.window !== null) this.select.value = this.film.window;
  }

  clear() {
    this.film = null;
    this.row.hidden = true;
    this.select.replaceChildren();
  }

  /**
   * While the film is read there is nothing to choose; the focus comes back afterwards.
   * @param {boolean} on
   */
  busy(on) {
    if (on) this.focused = document.activeElement === this.select;
    this.select.disabled = on;
    if (!on && this.focused) this.select.focus();
  }
}
