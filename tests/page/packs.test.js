import assert from "node:assert/strict";
import test from "node:test";

import { Pack, Packs, mapOf, numbers, peak, uncalibrated } from "../../medinterp/view/static/packs.js";
import { compared, floats, furthest, values } from "./values.js";

const PLAIN = { quantity: "relevancy", withoutSinks: false, scale: "report" };

function sent(array, Kind = Float32Array, dtype = "float32") {
  return { dtype, shape: [array.length], data: Buffer.from(Kind.from(array).buffer).toString("base64") };
}

/** An answer of the API: two tokens on a grid of 1 x 2. */
function answer(changes = {}) {
  return { method: "raw", image: 0, rows: 1, columns: 2, signed: false, additive: false, notes: [], members: [], options: {},
    tokens: sent([1, 0.5, 0, 0.25]), scale: 2, disagreement: null, disagreement_scale: null, sinks: null,
    ranges: { relevancy: [0, 1.5], relevancy_without_sinks: [0, 1], disagreement: null, disagreement_without_sinks: null }, ...changes };
}

test("every pattern of 16 bits is the number that numpy reads", compared, () => {
  const all = Uint16Array.from({ length: 65536 }, (_, at) => at);
  const read = numbers({ dtype: "float16", data: Buffer.from(all.buffer).toString("base64") });
  const wanted = floats(values.halves);
  assert.equal(read.length, 65536);
  for (let at = 0; at < 65536; at += 1) assert.ok(Object.is(read[at], wanted[at]), `${at.toString(16)}: ${read[at]}, not ${wanted[at]}`);
});

test("halves by hand: the smallest, the largest, infinities, no number, minus zero", () => {
  const bits = [0x0001, 0x03ff, 0x0400, 0x3c00, 0xc000, 0x7bff, 0x7c00, 0xfc00, 0x7e00, 0x8000];
  const read = [...numbers(sent(bits, Uint16Array, "float16"))];
  const wanted = [2 ** -24, 1023 * 2 ** -24, 2 ** -14, 1, -2, 65504, Infinity, -Infinity, NaN, -0].map(Math.fround);
  for (const [at, value] of wanted.entries()) assert.ok(Object.is(read[at], value), `${bits[at]}: ${read[at]}`);
});

test("the other kinds of numbers, and none that is not known", () => {
  assert.deepEqual([...numbers(sent([0.1, -3e38, 1e-40]))], [0.1, -3e38, 1e-40].map(Math.fround));
  assert.deepEqual([...numbers(sent([0, 1, 1], Uint8Array, "bool"))], [0, 1, 1]);
  assert.throws(() => numbers({ dtype: "float64", data: "" }), /float64/);
});

test("a selection's map is that of medinterp.relevancy.select_map", compared, () => {
  assert.ok(values.packs.length >= 4);
  for (const one of values.packs) {
    const pack = new Pack(one.answer, one.words);
    for (const { tokens, quantity, withoutSinks, map } of one.selections) {
      const joined = pack.map(tokens, { quantity, withoutSinks });
      assert.ok(furthest(joined, floats(map)) <= 2e-3 * one.top, `${one.name}, ${tokens}, ${quantity}`);
    }
    assert.deepEqual(pack.range({ quantity: "relevancy", withoutSinks: false }), one.answer.ranges.relevancy);
  }
});

test("maps of attention are averaged, those of log-probability added, a token counted once", () => {
  assert.deepEqual([...new Pack(answer(), []).map([0, 1], PLAIN)], [1, 0.75]);
  assert.deepEqual([...new Pack(answer({ additive: true }), []).map([0, 1], PLAIN)], [2, 1.5]);
  assert.deepEqual([...new Pack(answer({ additive: true }), []).map([0, 0, 0], PLAIN)], [2, 1]);
  assert.equal(new Pack(answer(), []).map([], PLAIN), null);
  assert.equal(mapOf(new Pack(answer(), []), [], PLAIN), null);
});

test("a disagreement is averaged even where the maps add", () => {
  const pack = new Pack(answer({ additive: true, disagreement: sent([1, 0, 0, 1]), disagreement_scale: 0.5 }), []);
  assert.deepEqual([...pack.map([0, 1], { quantity: "disagreement", withoutSinks: false })], [0.25, 0.25]);
});

test("sinks are left out when it is asked", () => {
  const pack = new Pack(answer({ sinks: sent([1, 0], Uint8Array, "bool") }), []);
  assert.equal(pack.hasSinks, true);
  assert.deepEqual([...pack.map([0], PLAIN)], [2, 1]);
  assert.deepEqual([...pack.map([0], { ...PLAIN, withoutSinks: true })], [0, 1]);
  assert.deepEqual(pack.range({ ...PLAIN, withoutSinks: true }), [0, 1]);
  assert.equal(new Pack(answer({ sinks: sent([0, 0], Uint8Array, "bool") }), []).hasSinks, false);
});

test("what a method has not is no map, and no range", () => {
  const pack = new Pack(answer(), []);
  assert.equal(pack.map([0], { quantity: "disagreement", withoutSinks: false }), null);
  assert.throws(() => pack.range({ quantity: "disagreement", withoutSinks: false }), /raw have no disagreement/);
});

test("a word above the range is told, rounding is none", () => {
  const words = [{ token_indices: [1] }, { token_indices: [0] }, { token_indices: [] }];
  assert.equal(new Pack(answer(), words).exceeded(PLAIN), true);
  assert.equal(new Pack(answer(), words.slice(0, 1)).exceeded(PLAIN), false);
  const near = answer({ ranges: { ...answer().ranges, relevancy: [0, 1.9985] } });
  assert.equal(new Pack(near, words).exceeded(PLAIN), false);
});

test("one range for the report, or the map's own", () => {
  const pack = new Pack(answer(), []);
  assert.deepEqual(mapOf(pack, [0], PLAIN).range, [0, 1.5]);
  assert.deepEqual(mapOf(pack, [0], { ...PLAIN, scale: "map" }).range, [0, 2]);
  const signed = new Pack(answer({ signed: true, tokens: sent([-3, 1, 0, 0]), scale: 1 }), []);
  assert.deepEqual(mapOf(signed, [0], { ...PLAIN, scale: "map" }).range, [-3, 3]);
  assert.equal(peak(new Float32Array([-3, 1]), true), 3);
  assert.equal(peak(new Float32Array([-3, 1]), false), 1);
});

test("a pack is asked for once, and found by method, options and image", async () => {
  const asked = [];
  const api = { json: async (path) => {
    asked.push(path);
    return answer({ method: "a b&c", options: { block: 2 } });
  } };
  const packs = new Packs(api, { id: "0f", report: { words: [] } });
  assert.equal(packs.ready("a b&c", { block: 2 }, 0), null);
  const pack = await packs.fetch("a b&c", 0);
  assert.deepEqual(asked, ["/reports/0f/maps/packed?method=a+b%26c&image=0"]);
  assert.equal(packs.ready("a b&c", { block: 2 }, 0), pack);
  for (const other of [["a b&c", {}, 0], ["a b&c", { block: 2 }, 1], ["a", { block: 2 }, 0]]) assert.equal(packs.ready(...other), null);
});

test("maps of a model that nobody has calibrated say so, a consensus of its member", () => {
  const told = "uncalibrated: every layer counts the same";
  assert.ok(uncalibrated([told]) && uncalibrated(["consensus of two", `layer_weighted: ${told}`]));
  assert.ok(!uncalibrated([]) && !uncalibrated(["the sinks were uncalibrated before"]));
});
