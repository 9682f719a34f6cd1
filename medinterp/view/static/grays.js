// The grays of a film: all that it has, for windows, which spread a few of them over the whole scale. A canvas holds 8
// bits of them; a film may have 16.

/** @import { GrayWindow } from "./types" */

import { contextOf } from "./dom.js";

const MOST = 65535; // the brightest

/** Grays of a picture, row by row, 0 to MOST. */
export class Grays {
  /**
   * @param {number} width
   * @param {number} height
   * @param {Uint16Array} values
   * @param {number} bits that they had
   */
  constructor(width, height, values, bits) {
    this.width = width;
    this.height = height;
    this.values = values;
    this.bits = bits;
    /** @type {Grays | null} */
    this.half = null;
  }

  /**
   * The grays, halved as often as their pixels are still no larger than the screen's; step: pixels of these that one of
   * them stands for, a side.
   * @param {number} scale pixels of the screen that a pixel of these takes
   */
  atScale(scale) {
    /** @type {Grays} */
    let level = this;
    let step = 1;
    while (scale * step <= 0.5 && Math.min(level.width, level.height) > 1) {
      level.half ??= halved(level);
      level = level.half;
      step *= 2;
    }
    return { level, step };
  }
}

/**
 * Each pixel the mean of four, or of those that there are.
 * @param {Grays} grays
 */
function halved({ width, height, values, bits }) {
  const [across, down] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const means = new Uint16Array(across * down);
  for (let y = 0; y < down; y += 1) {
    const above = 2 * y * width;
    const below = 2 * y + 1 < height ? above + width : above;
    for (let x = 0; x < across; x += 1) {
      const left = 2 * x;
      const right = left + 1 < width ? left + 1 : left;
      means[y * across + x] = (values[above + left] + values[above + right] + values[below + left] + values[below + right] + 2) >> 2;
    }
  }
  return new Grays(across, down, means, bits);
}

/** @type {WeakMap<ImageBitmap, Grays>} */
const known = new WeakMap();

/**
 * A picture's grays: those that it was deepened by, else its own 8 bits.
 * @param {ImageBitmap} picture
 */
export function graysOf(picture) {
  let grays = known.get(picture);
  if (grays === undefined) {
    const { width, height } = picture;
    const context = contextOf(Object.assign(document.createElement("canvas"), { width, height }), { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
    grays = new Grays(width, height, Uint16Array.from(pixels, (pixel) => 257 * (pixel & 255)), 8);
    known.set(picture, grays);
  }
  return grays;
}

/**
 * From now on a picture is windowed by these grays.
 * @param {ImageBitmap} picture
 * @param {Grays} grays
 */
export function deepen(picture, grays) {
  known.set(picture, grays);
}

/**
 * The gray (0..255) that each of 65,536 is shown as. level, width: middle and extent of the grays that are spread over
 * the whole scale, 0..1 of it; inverted: dense is dark.
 * @param {GrayWindow} window
 */
export function windowTable({ level, width, inverted }) {
  const table = new Uint8ClampedArray(MOST + 1);
  const low = level - width / 2;
  for (let gray = 0; gray <= MOST; gray += 1) {
    const shown = 255 * ((gray / MOST - low) / width); // clamped bytes: assignment rounds
    table[gray] = inverted ? 255 - shown : shown;
  }
  return table;
}

/**
 * The grays (0..1) below which given shares of a picture lie.
 * @param {Grays} grays
 * @param {number[]} shares
 */
export function quantiles({ width, height, values }, shares) {
  const every = Math.max(1, Math.floor((width * height) / 65536)) | 1; // odd: not the same columns of each line
  const some = values.filter((_, at) => at % every === 0).sort();
  return shares.map((share) => some[Math.min(some.length - 1, Math.floor(share * some.length))] / MOST);
}

/**
 * The grays of a gray PNG of 16 bits, of which browsers keep 8 (PNG, third edition, 9: filtering). Throws for any other
 * file.
 * @param {Blob} blob
 */
export async function graysOfPng(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const view = new DataView(bytes.buffer);
  const gray16 = bytes.length > 33 && view.getUint32(0) === 0x89504e47 && bytes[24] === 16 && bytes[25] === 0 && bytes[28] === 0;
  if (!gray16) throw new Error("This is no gray PNG of 16 bits.");
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const parts = [];
  for (let at = 8; at < bytes.length; at += 12 + view.getUint32(at)) {
    if (view.getUint32(at + 4) === 0x49444154) parts.push(bytes.slice(at + 8, at + 8 + view.getUint32(at))); // IDAT
  }
  const inflated = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(inflated).arrayBuffer());
  if (raw.length !== height * (1 + 2 * width)) throw new Error("This PNG has not as many pixels as it says.");
  const values = new Uint16Array(width * height);
  let above = new Uint8Array(2 * width);
  for (let y = 0; y < height; y += 1) {
    const at = y * (1 + 2 * width);
    const line = raw.subarray(at + 1, at + 1 + 2 * width);
    unfilter(raw[at], line, above);
    for (let x = 0; x < width; x += 1) values[y * width + x] = (line[2 * x] << 8) | line[2 * x + 1];
    above = line;
  }
  return new Grays(width, height, values, 16);
}

/**
 * A line's bytes from what they were filtered to, in place.
 * @param {number} filter 0 to 4
 * @param {Uint8Array} line
 * @param {Uint8Array} above the line before it, unfiltered
 */
function unfilter(filter, line, above) {
  for (let at = 0; at < line.length; at += 1) {
    const left = at > 1 ? line[at - 2] : 0;
    if (filter === 2) line[at] += above[at];
    else if (filter === 1) line[at] += left;
    else if (filter === 3) line[at] += (left + above[at]) >> 1;
    else if (filter === 4) line[at] += paeth(left, above[at], at > 1 ? above[at - 2] : 0);
  }
}

/** @type {(left: number, above: number, corner: number) => number} */
function paeth(left, above, corner) {
  const guess = left + above - corner;
  const [toLeft, toAbove, toCorner] = [Math.abs(guess - left), Math.abs(guess - above), Math.abs(guess - corner)];
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}
