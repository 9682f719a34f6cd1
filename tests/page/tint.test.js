import assert from "node:assert/strict";
import test from "node:test";

import { TINTS, tintOf } from "../../medinterp/view/static/tint.js";
import "./stub.js";

const word = (image_mass, logprob) => ({ image_mass, logprob });

test("attention is told as a share of the largest", () => {
  assert.deepEqual(tintOf("attention", [word(0.1, 0), word(0.4, 0), word(0, 0)]), { strengths: [0.25, 1, 0], legend: ["0", "40 %"] });
  assert.deepEqual(tintOf("attention", [word(0, 0)]), { strengths: [0], legend: ["0", "0.0 %"] });
  assert.deepEqual(tintOf("attention", []).strengths, []);
});

test("surprise ends at one in a thousand", () => {
  const { strengths } = tintOf("surprise", [word(0, 0), word(0, -Math.log(1000) / 2), word(0, -Math.log(1000)), word(0, -50)]);
  assert.deepEqual(strengths.map((value) => Math.round(1e6 * value) / 1e6 + 0), [0, 0.707107, 1, 1]);
});

test("reliance is told from a nat on once it is there, gains are none", () => {
  const told = (drops) => tintOf("reliance", drops.map((reliance) => ({ ...word(0, 0), reliance })));
  assert.deepEqual(told([0, 4, 1, -3, null]), { strengths: [0, 1, 0.5, 0, 0], legend: ["0", "4.0 nats"] });
  assert.deepEqual(told([0.25, 0]), { strengths: [0.5, 0], legend: ["0", "1.0 nats"] });
});

test("what has to be asked or is none gives no tint, and every strength is one", () => {
  for (const name of ["reliance", "none", "constructor"]) assert.equal(tintOf(name, [word(0.1, -1)]), null);
  for (const { name } of TINTS) {
    for (const value of tintOf(name, [word(1, -1e9), word(0, 0)])?.strengths ?? []) assert.ok(value >= 0 && value <= 1);
  }
});
