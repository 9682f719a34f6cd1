import "./stub.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { lengthOf } from "../../medinterp/view/static/ruler.js";

const ACROSS = [{ x: 0.25, y: 0.5 }, { x: 0.75, y: 0.5 }];

test("a length is in millimetres where the file says how large its pixels are, and says where it holds", () => {
  const film = { width: 1000, height: 500 };
  assert.equal(lengthOf(ACROSS, film).short, "500 pixels");
  assert.match(lengthOf(ACROSS, film).told, /does not say/);
  const detector = lengthOf(ACROSS, { ...film, spacing: { mm: 0.15, plane: "detector" } });
  assert.equal(detector.short, "75 mm at the detector");
  assert.match(detector.told, /at the detector/);
  assert.match(lengthOf(ACROSS, { ...film, spacing: { mm: 0.15, plane: "patient" } }).told, /calibrated/);
});

test("a slanting line is as long as the film's pixels make it", () => {
  const slanting = [{ x: 0, y: 0 }, { x: 0.03, y: 0.08 }];
  assert.equal(lengthOf(slanting, { width: 1000, height: 500, spacing: { mm: 0.1, plane: "patient" } }).short, "5.0 mm");
});
