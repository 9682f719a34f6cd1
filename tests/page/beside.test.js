import assert from "node:assert/strict";
import test from "node:test";

import { element } from "./stub.js";

// What the document says of itself is read when the module is.
element("settings-data").textContent = JSON.stringify({ apiRoot: "/v1", contourLevels: [0.5], defaults: { plain: "a", signed: "b" },
  colormaps: { a: Buffer.from(Uint8Array.from({ length: 768 }, (_, at) => Math.floor(at / 3))).toString("base64"), b: Buffer.alloc(768, 7).toString("base64") } });
const { differenceOf } = await import("../../medinterp/view/static/beside.js");
const { API_ROOT, CONTOUR_LEVELS, colourAt, colours } = await import("../../medinterp/view/static/settings.js");

const map = (values, range, grid = { rows: 1, columns: values.length }) => ({ values: new Float32Array(values), range, signed: false, ...grid });

test("a difference is of shares of the maps' own ranges", () => {
  const difference = differenceOf(map([1, 2, 0], [0, 2]), map([10, 0, 5], [0, 10]));
  assert.deepEqual([...difference.values], [-0.5, 1, -0.5]);
  assert.deepEqual([difference.signed, difference.range, difference.rows, difference.columns], [true, [-1, 1], 1, 3]);
});

test("beyond a range there is no more, and of an empty one nothing", () => {
  assert.deepEqual([...differenceOf(map([9, -9], [-1, 1]), map([0, 0], [0, 0])).values], [1, -1]);
  assert.deepEqual([...differenceOf(map([1, 1], [0, 0]), map([1, 1], [0, 0])).values], [0, 0]);
});

test("the same map twice is no difference, both ways round it is the opposite", () => {
  const [one, other] = [map([0.1, 0.9, 0.3], [0, 0.8]), map([3, 1, 2], [0, 3])];
  assert.deepEqual([...differenceOf(one, one).values], [0, 0, 0]);
  const back = differenceOf(other, one).values;
  for (const [cell, value] of differenceOf(one, other).values.entries()) assert.ok(Math.abs(value + back[cell]) < 1e-6);
});

test("other grids cannot be subtracted", () => {
  assert.equal(differenceOf(map([1, 2], [0, 1]), map([1, 2, 3], [0, 1])), null);
  assert.equal(differenceOf(map([1, 2], [0, 1]), map([1, 2], [0, 1], { rows: 2, columns: 1 })), null);
});

test("the settings are the document's", () => {
  assert.deepEqual([API_ROOT, CONTOUR_LEVELS], ["/v1", [0.5]]);
  assert.deepEqual(colourAt(colours("a", false), 0.5), [128, 128, 128]);
  assert.equal(colours("", true)[0], 7);
  assert.equal(colours("", false), colours("a", true));
});
