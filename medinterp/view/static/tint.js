// The tint of words: attention on the film, surprise, reliance on the film, what the region or the text says. Each has
// a strength of 0 to 1 for each word, and a legend with its ends.

/** @import { GuestTint, Word, WordTint } from "./types" */
/** @import { ReportView } from "./report.js" */

import { byId, make, percent } from "./dom.js";

const SURPRISING = Math.log(1000); // nats: of a word that the model would have written once in 1,000 times

export const TINTS = [
  { name: "attention", title: "Attention on the film" },
  { name: "surprise", title: "Surprise" },
  { name: "reliance", title: "Reliance on the film (asks the model)" },
  { name: "none", title: "None" },
];

/**
 * { strengths: number[], legend: [low, high] } by the report alone; null for what has to be asked or chosen first.
 * @param {string} name
 * @param {Pick<Word, "image_mass" | "logprob">[]} words
 * @returns {WordTint | null}
 */
export function tintOf(name, words) {
  if (name === "attention") {
    const largest = Math.max(0, ...words.map((word) => word.image_mass));
    return { strengths: words.map((word) => (largest > 0 ? word.image_mass / largest : 0)), legend: ["0", percent(largest)] };
  }
  if (name === "surprise") {
    return { strengths: words.map((word) => Math.min(1, -word.logprob / SURPRISING)), legend: ["certain", "1 in 1,000"] };
  }
  return null;
}

/**
 * Losses of log-probability without the film, in nats, as a tint.
 * @param {number[]} drops
 * @returns {WordTint}
 */
export function relianceTint(drops) {
  const top = Math.max(1, ...drops);
  return { strengths: drops.map((drop) => Math.sqrt(Math.max(0, drop) / top)), legend: ["0", `${top.toFixed(1)} nats`] };
}

export class Tint {
  /**
   * @param {ReportView} report
   * @param {(() => Promise<number[] | null>) | null} ask resolves with the words' reliance, or with null when it cannot
   *   be had; null where there is nobody to ask
   */
  constructor(report, ask) {
    this.report = report;
    this.ask = ask;
    this.select = byId("tint");
    const tints = TINTS.filter(({ name }) => ask !== null || name !== "reliance");
    this.select.append(...tints.map(({ name, title }) => make("option", { value: name }, title)));
    this.select.addEventListener("change", () => this.show());
    /** @type {Word[] | null} */
    this.words = null; // of the report that is open
    /** @type {number[] | null} */
    this.drops = null; // their reliance, once it was asked for
    /** @type {GuestTint | null} */
    this.guest = null; // a tint that stands for as long as its view is seen: a region's, the text's
  }

  get name() {
    return this.select.value;
  }

  /** @param {Word[]} words */
  open(words) {
    this.words = words;
    this.drops = null;
    this.guest = null;
    byId("tint-label").hidden = words.length === 0;
    this.show();
  }

  close() {
    this.words = null;
    this.guest = null;
    byId("tint-label").hidden = true;
  }

  /**
   * { title, strengths, legend } that takes the chosen tint's place, or null to give it back.
   * @param {GuestTint | null} guest
   */
  lend(guest) {
    if (this.words === null) return;
    this.guest = guest;
    this.draw();
  }

  async show() {
    this.draw();
    if (this.name !== "reliance" || this.drops !== null || this.ask === null) return;
    const { words } = this;
    const drops = await this.ask();
    if (words !== this.words) return;
    if (drops === null) this.select.value = "attention";
    else this.drops = drops;
    this.draw();
  }

  draw() {
    if (this.words === null) return;
    const own = this.name === "reliance" && this.drops !== null ? relianceTint(this.drops) : tintOf(this.name, this.words);
    const tint = this.guest ?? own;
    this.report.tint(tint?.strengths ?? []);
    const legend = byId("legend");
    legend.hidden = tint === null;
    this.select.title = this.guest === null ? "" : `Until it is left: ${this.guest.title}`;
    if (tint === null) return;
    legend.replaceChildren(this.guest === null ? "" : `${this.guest.title}: `, `${tint.legend[0]} `,
      make("span", { class: "mi-ramp", "aria-hidden": "true" }), ` ${tint.legend[1]}`);
  }
}
