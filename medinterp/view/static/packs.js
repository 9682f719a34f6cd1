// The maps of one report by one method, for every token: they come once, and any selection's map is joined from them
// here, as medinterp.relevancy.select_map joins it.

/** @import { Drawn, Explanation, Numbers, Options, PackedMaps, PageMap, Quantity, Range, Word } from "./types" */

/**
 * Numbers of { dtype, shape, data }: float16, float32 or bool, little-endian, data in base64.
 * @param {Pick<Numbers, "dtype" | "data">} array
 */
export function numbers({ dtype, data }) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  if (dtype === "bool") return Float32Array.from(bytes);
  const view = new DataView(bytes.buffer);
  if (dtype === "float32") return Float32Array.from({ length: bytes.length / 4 }, (_, at) => view.getFloat32(4 * at, true));
  if (dtype !== "float16") throw new Error(`Maps are float16 or float32, not ${dtype}.`);
  return Float32Array.from({ length: bytes.length / 2 }, (_, at) => half(view.getUint16(2 * at, true)));
}

/**
 * The number that 16 bits stand for (IEEE 754 binary16).
 * @param {number} bits
 */
function half(bits) {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/**
 * Whether the maps stand on layer weights that nobody has learned for this model, their own or a member's ("method: note").
 * @param {string[]} notes
 */
export function uncalibrated(notes) {
  return notes.some((note) => note.split(": ").includes("uncalibrated"));
}

/** Answer of /reports/{id}/maps/packed. */
export class Pack {
  /**
   * @param {PackedMaps} answer
   * @param {Pick<Word, "token_indices">[]} words the report's
   */
  constructor(answer, words) {
    this.method = answer.method;
    this.image = answer.image;
    this.rows = answer.rows;
    this.columns = answer.columns;
    this.cells = answer.rows * answer.columns;
    this.signed = answer.signed;
    this.additive = answer.additive;
    this.notes = answer.notes;
    this.members = answer.members;
    this.options = answer.options;
    this.ranges = answer.ranges;
    this.sinks = answer.sinks === null ? null : numbers(answer.sinks);
    this.hasSinks = this.sinks !== null && this.sinks.includes(1);
    const times = (/** @type {Numbers} */ array, /** @type {number | null} */ scale) =>
      numbers(array).map((value) => value * (scale ?? 1));
    /** @type {Record<Quantity, Float32Array | null>} */
    this.values = { relevancy: times(answer.tokens, answer.scale),
      disagreement: answer.disagreement === null ? null : times(answer.disagreement, answer.disagreement_scale) };
    this.words = words;
    /** @type {Map<string, boolean>} */
    this.kept = new Map(); // quantity and sinks -> whether a word is above the range
  }

  /**
   * The map of some tokens: their sum where maps add, else their mean (of disagreements always). Null for none.
   * @param {number[]} tokens
   * @param {Omit<Drawn, "scale">} options
   */
  map(tokens, { quantity, withoutSinks }) {
    const chosen = [...new Set(tokens)];
    const values = this.values[quantity];
    if (chosen.length === 0 || values === null) return null;
    const map = new Float32Array(this.cells);
    const weight = this.additive && quantity === "relevancy" ? 1 : 1 / chosen.length;
    for (const token of chosen) {
      const from = token * this.cells;
      for (let cell = 0; cell < this.cells; cell += 1) map[cell] += weight * values[from + cell];
    }
    if (withoutSinks && this.sinks !== null) {
      for (let cell = 0; cell < this.cells; cell += 1) if (this.sinks[cell]) map[cell] = 0;
    }
    return map;
  }

  /**
   * The range that the whole report shares.
   * @param {Omit<Drawn, "scale">} options
   */
  range({ quantity, withoutSinks }) {
    const range = this.ranges[withoutSinks ? /** @type {const} */ (`${quantity}_without_sinks`) : quantity];
    if (range === null) throw new Error(`Maps by ${this.method} have no ${quantity}.`);
    return range;
  }

  /**
   * Whether a word of the report is above its range.
   * @param {Omit<Drawn, "scale">} options
   */
  exceeded(options) {
    const key = `${options.quantity} ${options.withoutSinks}`;
    let exceeded = this.kept.get(key);
    if (exceeded === undefined) {
      const [, high] = this.range(options);
      exceeded = this.words.some(({ token_indices: tokens }) =>
        this.map(tokens, options)?.some((value) => Math.abs(value) > high * 1.002)); // of what 16 bits round
      this.kept.set(key, exceeded);
    }
    return exceeded;
  }
}

/**
 * The largest value of a map; of a signed one the largest distance from 0.
 * @param {Float32Array} values
 * @param {boolean} signed
 */
export function peak(values, signed) {
  return values.reduce((most, value) => Math.max(most, signed ? Math.abs(value) : value), 0);
}

/**
 * A map as a FilmView takes it, of some tokens of a pack; null where there is none.
 * @param {Pack} pack
 * @param {number[]} tokens
 * @param {Drawn} options
 * @returns {PageMap | null}
 */
export function mapOf(pack, tokens, options) {
  const values = pack.map(tokens, options);
  if (values === null) return null;
  const { rows, columns, signed } = pack;
  const top = peak(values, signed);
  /** @type {Range} */
  const range = options.scale === "map" ? [signed ? -top : 0, top] : pack.range(options);
  return { values, rows, columns, signed, range };
}

/** The packs of one report, fetched once each. */
export class Packs {
  /**
   * @param {{ json: (path: string) => Promise<PackedMaps> }} api
   * @param {Explanation} explanation
   */
  constructor(api, explanation) {
    this.api = api;
    this.explanation = explanation;
    /** @type {Map<string, Pack>} */
    this.known = new Map();
  }

  /**
   * @param {string} method
   * @param {Options} options
   * @param {number} image
   */
  static key(method, options, image) {
    return JSON.stringify([method, options, image]);
  }

  /**
   * The pack, where it is here.
   * @param {string} method
   * @param {Options} options
   * @param {number} image
   */
  ready(method, options, image) {
    return this.known.get(Packs.key(method, options, image)) ?? null;
  }

  /**
   * The pack that the report keeps by a method: it may be of other options than were asked for last.
   * @param {string} method
   * @param {number} image
   */
  async fetch(method, image) {
    const { id, report } = this.explanation;
    const query = new URLSearchParams({ method, image: String(image) });
    const answer = await this.api.json(`/reports/${id}/maps/packed?${query}`);
    const pack = new Pack(answer, report.words);
    this.known.set(Packs.key(pack.method, pack.options, pack.image), pack);
    return pack;
  }
}
