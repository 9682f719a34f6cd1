import assert from "node:assert/strict";
import test from "node:test";

import { curvesChart, curvesText } from "../../medinterp/view/static/chart.js";
import "./stub.js";

const FRACTIONS = [0, 0.125, 0.5, 1];
const CURVE = { name: "scores", label: "This map", deletion_curve: [0.9, 0.5, 0.0004, 0], insertion_curve: [0.00002, 0.1, 0.2, 0.9] };

function all(node, tag) {
  return [...(node.tag === tag ? [node] : []), ...node.children.flatMap((child) => (typeof child === "string" ? [] : all(child, tag)))];
}

test("the curves are told by three points each, whatever their size", () => {
  assert.equal(curvesText(FRACTIONS, [CURVE]),
    "Deletion, most relevant cells replaced first: This map from 90 % to 50 % after 13 % of the cells, 0 after all. "
    + "Insertion, most relevant cells shown first: This map from 2e-5 to 10 % after 13 % of the cells, 90 % after all.");
  const two = curvesText(FRACTIONS, [CURVE, { ...CURVE, label: "Random order" }]);
  assert.equal(two.match(/Random order from/g).length, 2);
  assert.match(two, /0 after all; Random order/);
});

test("every curve is drawn in both panels, within the chart", () => {
  const figure = curvesChart(FRACTIONS, [CURVE, { ...CURVE, name: "random", label: "Random order" }], "told");
  const [chart] = all(figure, "svg");
  const lines = all(chart, "polyline");
  assert.equal(lines.length, 4);
  const [, , width, height] = chart.attributes.viewBox.split(" ").map(Number);
  for (const line of lines) {
    const points = line.attributes.points.split(" ").map((point) => point.split(",").map(Number));
    assert.equal(points.length, FRACTIONS.length);
    for (const [x, y] of points) assert.ok(x >= 0 && x <= width && y >= 0 && y <= height);
    assert.deepEqual([...points].sort(([one], [other]) => one - other), points);
  }
  assert.equal(all(figure, "desc")[0].textContent, "told");
});

test("the axis ends at 1, 2 or 5 of a power of ten, and at 1 for probabilities that are none", () => {
  const top = (value) => {
    const curve = { ...CURVE, deletion_curve: [value, 0, 0, 0], insertion_curve: [0, 0, 0, 0] };
    return all(curvesChart(FRACTIONS, [curve], ""), "text").map((node) => node.textContent)[2];
  };
  assert.deepEqual([0.9, 1, 0.4, 0.2, 0.15, 0.011, 0.00003, 0].map(top),
    ["100 %", "100 %", "50 %", "20 %", "20 %", "2 %", "5e-5", "100 %"]);
});
