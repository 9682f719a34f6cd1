// Numbers of the Python side that the scripts' numbers are held against: tests/test_view_units.py computes them and
// says by MEDINTERP_VALUES where they are.

import { readFileSync } from "node:fs";

const path = process.env.MEDINTERP_VALUES;

export const values = path ? JSON.parse(readFileSync(path, "utf-8")) : null;

/** Options of a test that needs them. */
export const compared = { skip: values === null && "run pytest tests/test_view_units.py, which computes the numbers" };

/** The floats of an array that Python sent: float32, little-endian, in base64. */
export function floats(data) {
  const bytes = Buffer.from(data, "base64");
  return Float32Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readFloatLE(4 * at));
}

/** The bytes of one. */
export function octets(data) {
  return new Uint8Array(Buffer.from(data, "base64"));
}

/** The largest distance of two arrays of one length. */
export function furthest(one, other) {
  let most = one.length === other.length ? 0 : Infinity;
  for (let at = 0; at < one.length; at += 1) most = Math.max(most, Math.abs(one[at] - other[at]));
  return most;
}

/** A generator of numbers in 0..1 that gives the same ones in every run (mulberry32). */
export function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
