// Deletion and insertion curves side by side on one scale, as inline SVG. Lines differ by their dashes, not only by
// colour; whoever cannot see them is told three points of each.

import { make, makeSvg } from "./dom.js";

/**
 * One order of the cells, and the probabilities while they are replaced or shown.
 * @typedef {{ label: string, deletion_curve: number[], insertion_curve: number[] }} Told
 * @typedef {Told & { name: string }} Curve
 */

const WIDTH = 360;
const HEIGHT = 158;
const TOP = 22;
const BOTTOM = 34; // room for ticks and the axis' name
const LEFT = 40;
const GAP = 22;
const PANEL = (WIDTH - LEFT - GAP - 8) / 2;
const TOLD = 1 / 8; // the share of the cells of the middle point that is told

/** @type {{ curve: "deletion_curve" | "insertion_curve", title: string, axis: string, first: string }[]} */
const PANELS = [
  { curve: "deletion_curve", title: "Deletion", axis: "share of cells replaced", first: "replaced" },
  { curve: "insertion_curve", title: "Insertion", axis: "share of cells shown", first: "shown" },
];

/**
 * The least of 1, 2, 5 times a power of ten that is not below `value`; probabilities end at 1.
 * @param {number} value
 */
function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return Math.min(1, [1, 2, 5, 10].map((step) => step * power).find((top) => top >= value * 0.999) ?? 1);
}

/**
 * A probability of any size on an axis.
 * @param {number} value
 */
function tick(value) {
  if (value === 0) return "0";
  return value >= 0.001 ? `${Number((100 * value).toPrecision(2))} %` : value.toExponential(0);
}

/**
 * The curves in words, for those who cannot see them.
 * @param {number[]} fractions
 * @param {Told[]} curves
 */
export function curvesText(fractions, curves) {
  const middle = fractions.reduce((best, fraction, at) =>
    (Math.abs(fraction - TOLD) < Math.abs(fractions[best] - TOLD) ? at : best), 0);
  const share = `${Math.round(100 * fractions[middle])} %`;
  const told = (/** @type {(typeof PANELS)[number]} */ { curve, title, first }) => `${title}, most relevant cells ${first} first: ` + curves.map((one) => {
    const values = one[curve];
    return `${one.label} from ${tick(values[0])} to ${tick(values[middle])} after ${share} of the cells, `
      + `${tick(values[values.length - 1])} after all`;
  }).join("; ");
  return `${PANELS.map(told).join(". ")}.`;
}

/**
 * @param {(typeof PANELS)[number]} shown
 * @param {number} left
 * @param {number[]} fractions
 * @param {Curve[]} curves
 * @param {number} top
 */
function panel({ curve, title, axis }, left, fractions, curves, top) {
  const x = (/** @type {number} */ fraction) => left + fraction * PANEL;
  const y = (/** @type {number} */ value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  const lines = [0, top / 2, top].map((value) =>
    makeSvg("line", { class: "mi-chart-grid", x1: left, x2: left + PANEL, y1: y(value), y2: y(value) }));
  const label = (/** @type {string} */ text, /** @type {Record<string, string | number>} */ attributes) => makeSvg("text", attributes, text);
  const ticks = /** @type {[number, string, string][]} */ ([[0, "start", "0"], [0.5, "middle", "50 %"], [1, "end", "100 %"]]).map(([at, anchor, text]) =>
    label(text, { x: x(at), y: HEIGHT - BOTTOM + 13, "text-anchor": anchor }));
  // The map's own line lies on top of the others.
  const paths = [...curves].reverse().map((one) => makeSvg("polyline", {
    class: `mi-curve mi-curve-${one.name}`,
    points: fractions.map((fraction, at) => `${x(fraction).toFixed(1)},${y(one[curve][at]).toFixed(1)}`).join(" "),
  }));
  return [
    label(title, { class: "mi-chart-title", x: left, y: 12 }),
    ...lines, ...ticks, ...paths,
    label(axis, { x: left + PANEL / 2, y: HEIGHT - 6, "text-anchor": "middle" }),
  ];
}

/**
 * A figure with both panels and the legend. curves: [{ name, label, deletion_curve, insertion_curve }].
 * @param {number[]} fractions
 * @param {Curve[]} curves
 * @param {string} text
 */
export function curvesChart(fractions, curves, text) {
  const top = ceiling(Math.max(...curves.flatMap((one) => [...one.deletion_curve, ...one.insertion_curve])));
  const height = (/** @type {number} */ value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM) + 4;
  const chart = makeSvg("svg", {
    class: "mi-chart", id: "medinterp-curves", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
    "aria-labelledby": "medinterp-curves-title medinterp-curves-text",
  },
  makeSvg("title", { id: "medinterp-curves-title" }, "Probability of what is selected while cells are replaced"),
  makeSvg("desc", { id: "medinterp-curves-text" }, text),
  ...[0, top / 2, top].map((value) => makeSvg("text", { x: LEFT - 5, y: height(value), "text-anchor": "end" }, tick(value))),
  ...PANELS.flatMap((one, at) => panel(one, LEFT + at * (PANEL + GAP), fractions, curves, top)));
  const legend = curves.map((one) => make("li", {},
    makeSvg("svg", { class: "mi-chart-key", viewBox: "0 0 26 8", "aria-hidden": "true" },
      makeSvg("polyline", { class: `mi-curve mi-curve-${one.name}`, points: "1,4 25,4" })), one.label));
  return make("figure", { class: "mi-figure" }, chart, make("ul", { class: "mi-chart-legend", "aria-label": "Lines" }, ...legend));
}
