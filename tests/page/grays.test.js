import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";

import { Grays, graysOfPng, quantiles, windowTable } from "../../medinterp/view/static/grays.js";

test("a window spreads grays over the scale", () => {
  const plain = windowTable({ level: 0.5, width: 1, inverted: false });
  const inverted = windowTable({ level: 0.5, width: 1, inverted: true });
  for (let gray = 0; gray < 256; gray += 1) assert.deepEqual([plain[257 * gray], inverted[257 * gray]], [gray, 255 - gray]);
  const narrow = windowTable({ level: 0.5, width: 0.01, inverted: false });
  assert.deepEqual([narrow[0], narrow[32400], narrow[33100], narrow[65535]], [0, 0, 255, 255]);
  assert.equal(new Set(narrow).size, 256, "a hundredth of 65,536 grays is spread over every shade");
});

test("grays are halved to what the screen can show, and each stands for as many as it says", () => {
  const grays = new Grays(5, 3, Uint16Array.from({ length: 15 }, (_, at) => 10 * at), 16);
  assert.deepEqual(grays.atScale(0.6), { level: grays, step: 1 });
  const { level, step } = grays.atScale(0.5);
  assert.deepEqual([level.width, level.height, step], [3, 2, 2]);
  assert.equal(level.values[0], 30); // of 0, 10, 50, 60
  assert.equal(level.values[2], 65); // the last column by itself: 40, 90
  assert.equal(level.values[3], 105); // the last line by itself: 100, 110
  assert.equal(grays.atScale(0.5).level, level, "made once");
  assert.equal(grays.atScale(0.01).step, 4, "no smaller than one line");
});

test("quantiles are those of the grays", () => {
  const grays = new Grays(100, 10, Uint16Array.from({ length: 1000 }, (_, at) => 65 * at), 16);
  const [low, middle] = quantiles(grays, [0, 0.5]);
  assert.equal(low, 0);
  assert.ok(Math.abs(middle - 0.5) < 0.01);
});

/** A gray PNG of 16 bits, its lines filtered by each of the five filters in turn. */
function png(values, width, height, { depth = 16 } = {}) {
  const byte = (x, y) => (x < 0 || y < 0 ? 0 : (values[y * width + (x >> 1)] >> (x % 2 ? 0 : 8)) & 255);
  const paeth = (a, b, c) => [a, b, c].reduce((best, one) => (Math.abs(a + b - c - one) < Math.abs(a + b - c - best) ? one : best));
  const lines = [];
  for (let y = 0; y < height; y += 1) {
    const filter = y % 5;
    lines.push(filter);
    for (let x = 0; x < 2 * width; x += 1) {
      const [a, b, c] = [byte(x - 2, y), byte(x, y - 1), byte(x - 2, y - 1)];
      lines.push(byte(x, y) - [0, a, b, (a + b) >> 1, paeth(a, b, c)][filter]);
    }
  }
  const chunk = (kind, data) => {
    const bytes = Buffer.alloc(12 + data.length);
    bytes.writeUInt32BE(data.length);
    bytes.write(kind, 4);
    Buffer.from(data).copy(bytes, 8);
    return bytes;
  };
  const header = Buffer.from([0, 0, 0, width, 0, 0, 0, height, depth, 0, 0, 0, 0]);
  const data = deflateSync(Uint8Array.from(lines));
  return new Blob([Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]), chunk("IHDR", header), chunk("IDAT", data.subarray(0, 9)),
    chunk("IDAT", data.subarray(9)), chunk("IEND", [])]);
}

test("a PNG of 16 bits gives all its grays back, whatever its lines were filtered by", async () => {
  const values = Uint16Array.from({ length: 7 * 11 }, (_, at) => (at * 40503) & 65535);
  const grays = await graysOfPng(png(values, 7, 11));
  assert.deepEqual([grays.width, grays.height, grays.bits], [7, 11, 16]);
  assert.deepEqual(grays.values, values);
});

test("what is no such PNG is said", async () => {
  await assert.rejects(graysOfPng(png(new Uint16Array(4), 2, 2, { depth: 8 })), /no gray PNG of 16 bits/);
  await assert.rejects(graysOfPng(new Blob(["no picture at all, but long enough to be one"])), /no gray PNG/);
});
