import assert from "node:assert/strict";
import test from "node:test";

import { coverageOf, drivenWords } from "../../medinterp/view/static/driven.js";
import { Pack } from "../../medinterp/view/static/packs.js";
import { compared, floats, furthest, random, values } from "./values.js";

test("a box covers what medinterp.relevancy.box_coverage says", compared, () => {
  assert.ok(values.boxes.length >= 20);
  for (const { box: [left, top, right, bottom], rows, columns, coverage } of values.boxes) {
    assert.ok(furthest(coverageOf({ left, top, right, bottom }, rows, columns), floats(coverage)) < 1e-6);
  }
});

test("a box's coverage is its area, wherever it lies", () => {
  const next = random(2);
  for (let round = 0; round < 500; round += 1) {
    const [left, right] = [next(), next()].sort();
    const [top, bottom] = [next(), next()].sort();
    const [rows, columns] = [1 + Math.floor(20 * next()), 1 + Math.floor(20 * next())];
    const coverage = coverageOf({ left, top, right, bottom }, rows, columns);
    const sum = coverage.reduce((total, part) => total + part, 0);
    assert.ok(Math.abs(sum - (right - left) * (bottom - top) * rows * columns) < 1e-4);
    assert.ok(coverage.every((part) => part >= 0 && part <= 1 + 1e-6));
  }
  assert.deepEqual([...coverageOf({ left: 0.125, top: 0, right: 0.5, bottom: 0.25 }, 2, 4)], [0.25, 0.5, 0, 0, 0, 0, 0, 0]);
});

test("words are ranked as medinterp.relevancy.rank_words ranks them", compared, () => {
  for (const one of values.packs) {
    const pack = new Pack(one.answer, one.words);
    for (const { coverage, withoutSinks, ranked } of one.regions) {
      const found = drivenWords(pack, one.words, floats(coverage), { quantity: "relevancy", withoutSinks, scale: "report" });
      assert.deepEqual(found.map(({ index }) => index).sort(), ranked.map(({ index }) => index).sort(), one.name);
      const wanted = new Map(ranked.map((word) => [word.index, word]));
      for (const [at, { index, value, share }] of found.entries()) {
        assert.ok(Math.abs(value - wanted.get(index).value) <= 1e-3 * one.top, `${one.name}, word ${index}`);
        assert.ok(Math.abs(share - wanted.get(index).share) <= 5e-3, `${one.name}, word ${index}: share`);
        if (at) assert.ok(found[at - 1].value >= value);
      }
    }
  }
});

test("of equals the first in the text comes first; a region without area drives nothing", () => {
  const pack = { map: () => new Float32Array([1, 1]) };
  const words = [3, 1, 2].map((index) => ({ index, token_indices: [index] }));
  const options = { quantity: "relevancy", withoutSinks: false, scale: "report" };
  assert.deepEqual(drivenWords(pack, words, new Float32Array([1, 0]), options).map(({ index }) => index), [1, 2, 3]);
  assert.deepEqual(drivenWords(pack, words, new Float32Array(2), options), []);
  assert.deepEqual(drivenWords({ map: () => null }, words, new Float32Array([1, 0]), options), []);
});

test("a share speaks of what is for the word, the value of both", () => {
  const pack = { map: () => new Float32Array([-1, 3, 0]) };
  const [word] = drivenWords(pack, [{ index: 0, token_indices: [0] }], new Float32Array([1, 1, 0]),
    { quantity: "relevancy", withoutSinks: false, scale: "report" });
  assert.deepEqual(word, { index: 0, value: 1, share: 1 });
});
