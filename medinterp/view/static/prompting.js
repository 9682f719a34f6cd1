// What the model is asked: the prompt, and why the film was taken. The latter is about a patient, and goes with its film.

/** @import { Models, Provenance } from "./types" */

import { byId } from "./dom.js";

const INDICATION = "\n\nIndication: "; // as the service writes it behind a prompt

/**
 * The words of the question that was asked last, and the indication behind them.
 * @param {Provenance} provenance
 */
export function askedOf({ prompt, conversation }) {
  const parts = conversation?.turns.at(-1)?.parts ?? [prompt];
  const words = parts.filter((part) => typeof part === "string").join("\n\n");
  const at = words.indexOf(INDICATION);
  return at < 0 ? { words, indication: "" } : { words: words.slice(0, at), indication: words.slice(at + INDICATION.length) };
}

export class Prompting {
  constructor() {
    this.field = byId("prompt");
    this.indication = byId("indication");
    this.byDefault = "";
    this.read = ""; // the indication that a report was read with
    this.field.addEventListener("input", () => this.show());
    byId("prompt-reset").addEventListener("click", () => this.put(this.byDefault));
  }

  /** @param {Models["models"][number]} model */
  use(model) {
    const own = !this.field.value || this.field.value === this.byDefault;
    this.byDefault = model.default_prompt;
    byId("indication-row").hidden = model.reads_indication === false;
    if (own) this.put(this.byDefault);
    this.show();
  }

  show() {
    byId("prompt-reset").hidden = this.field.value === this.byDefault;
  }

  /** @param {string} words */
  put(words) {
    this.field.value = words;
    this.show();
  }

  /** Add what is asked; the service has its own words where they were left as they are. @param {FormData} form */
  fill(form) {
    const words = this.field.value;
    if (words.trim() && words !== this.byDefault) form.append("prompt", words);
    if (!byId("indication-row").hidden && this.indication.value.trim()) form.append("indication", this.indication.value);
  }

  /** A report is there that was read with what stands here. */
  keep() {
    this.read = this.indication.value;
  }

  /** @param {Provenance} provenance of a report that was opened */
  restore(provenance) {
    const { words, indication } = askedOf(provenance);
    this.put(words);
    this.indication.value = this.read = indication;
  }

  /** Another film: the indication of the former one is gone, true if there was any; a new one stays. */
  leave() {
    const gone = this.read !== "" && this.read === this.indication.value;
    if (gone) this.indication.value = "";
    this.read = "";
    return gone;
  }

  /** The report is forgotten. */
  clear() {
    this.indication.value = this.read = "";
  }
}
