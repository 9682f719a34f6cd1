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
 * { strengths: number[], legend: [low, high] } by the report alone; null for what has to be asked first.
 * @param {string} name
 * @param {Pick<Word, "image_mass" | "logprob" | "reliance">[]} words
 * @returns {WordTint | null}
 */
export function tintOf(name, words) {
  if (name === "attention") {
    const largest = Math.max(0, ...words.map((word) => word.image_mass));
    return { strengths: words.map((word) => (largest > 0 ? word.image_mass / largest : 0)), legend: ["0", percent(largest)] };
  }
  if (name === "surprise") {
    return { strengths: words.map((word) => Math.sqrt(Math.min(1, Math.max(0, -word.logprob) / SURPRISING))), legend: ["certain", "1 in 1,000"] };
  }
  const drops = words.map((word) => word.reliance ?? 0);
  if (name !== "reliance" || words.every((word) => word.reliance == null)) return null;
  const top = Math.max(1, ...drops);
  return { strengths: drops.map((drop) => Math.sqrt(Math.max(0, drop) / top)), legend: ["0", `${top.toFixed(1)} nats`] };
}

export class Tint {
  /**
   * @param {ReportView} report
   * @param {(() => Promise<boolean>) | null} ask has the words' reliance put into them, false when it cannot be had; null
   *   where there is nobody to ask
   */
  constructor(report, ask) {
    this.report = report;
    this.ask = ask;
    this.select = byId("tint");
    this.select.append(...TINTS.map(({ name, title }) => make("option", { value: name }, title)));
    this.select.addEventListener("change", () => this.show());
    /** @type {Word[] | null} */
    this.words = null; // of the report that is open
    /** @type {GuestTint | null} */
    this.guest = null; // a tint that stands for as long as its view is seen: a region's, the text's
  }

  get name() {
    return this.select.value;
  }

  /** @param {Word[]} words */
  open(words) {
    this.words = words;
    this.guest = null;
    byId("tint-label").hidden = words.length === 0;
    const had = this.ask !== null || tintOf("reliance", words) !== null;
    // Some browsers show what is hidden here, none lets what is disabled be chosen.
    for (const option of this.select.options) option.hidden = option.disabled = option.value === "reliance" && !had;
    if (!had && this.name === "reliance") this.select.value = "attention";
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
    if (this.words === null || (guest === null && this.guest === null)) return;
    this.guest = guest;
    this.draw();
  }

  async show() {
    this.draw();
    const { words } = this;
    if (this.name !== "reliance" || words === null || this.ask === null || tintOf("reliance", words) !== null) return;
    const there = await this.ask();
    if (words !== this.words) return;
    if (!there && this.name === "reliance") this.select.value = "attention";
    this.draw();
  }

  draw() {
    if (this.words === null) return;
    const tint = this.guest ?? tintOf(this.name, this.words);
    this.report.tint(tint?.strengths ?? []);
    const legend = byId("legend");
    legend.hidden = tint === null;
    this.select.title = this.guest === null ? "" : `Until it is left: ${this.guest.title}`;
    if (tint === null) return;
    legend.replaceChildren(this.guest === null ? "" : `${this.guest.title}: `, `${tint.legend[0]} `,
      make("span", { class: "mi-ramp", "aria-hidden": "true" }), ` ${tint.legend[1]}`);
  }
}
