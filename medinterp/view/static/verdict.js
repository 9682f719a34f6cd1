// A judgement in words and numbers: the verdict, what the film was worth, the curves, the areas under them.

/** @import { Interval, Judgement } from "./types" */

import { curvesChart, curvesText } from "./chart.js";
import { fixed, make, makeSvg, nats, percent } from "./dom.js";

const COUNTS = ["no", "one", "two", "three", "four", "five", "six"];

// A shape for each verdict, so that it does not hang on colour, and a title that answers the button's question.
const VERDICTS = {
  region: { title: "The map beats chance", path: "M6 12.5l4 4 8-9" },
  picture: { title: "The map does not beat chance", path: "M5 13.5c2.3-4 4.7-4 7-1.5s4.7 2.5 7-1.5" },
  text: { title: "The film did not matter", path: "M6 12h12" },
};

/** @type {("deletion" | "insertion" | "srg")[]} */
const SCORES = ["deletion", "insertion", "srg"];
/** @type {["scores" | "random" | "centre", string][]} */
const ORDERS = [["scores", "This map"], ["random", "Random order"], ["centre", "Film's centre"]];

/**
 * "35": how many times, to two digits.
 * @param {number} factor
 */
function times(factor) {
  if (factor >= 1000) return "more than 1,000";
  return String(Number(factor.toPrecision(2)));
}

/**
 * What a loss of `drop` nats does to a probability: "35 times less likely".
 * @param {number} drop
 */
export function likelihood(drop) {
  const factor = Math.exp(Math.abs(drop));
  return factor < 1.1 ? "about as likely" : `${times(factor)} times ${drop > 0 ? "less" : "more"} likely`;
}

/**
 * The same for several films: "1.5 to 40 times less likely".
 * @param {number[]} drops
 */
export function likelihoods(drops) {
  const least = likelihood(Math.min(...drops));
  const most = likelihood(Math.max(...drops));
  if (least === most) return least;
  const [low, kind] = least.split(" times ");
  if (kind !== undefined && kind === most.split(" times ")[1]) {
    return kind.startsWith("less") ? `${low} to ${most}` : `${most.split(" ")[0]} to ${least}`;
  }
  return `from ${least} to ${most}`;
}

/**
 * Decimals that show two digits of probabilities as large as `top`.
 * @param {number} top
 */
function decimalsFor(top) {
  return top > 0 ? Math.min(8, Math.max(2, 1 - Math.floor(Math.log10(top)))) : 2;
}

/**
 * @param {Interval} interval
 * @param {number} decimals
 */
function span({ low, high }, decimals) {
  return `${fixed(low, decimals)} to ${fixed(high, decimals)}`;
}

/** @param {string} path */
function mark(path) {
  return makeSvg("svg", { class: "mi-verdict-mark", viewBox: "0 0 24 24", "aria-hidden": "true" },
    makeSvg("circle", { cx: 12, cy: 12, r: 11 }), makeSvg("path", { d: path }));
}

/**
 * A verdict of that kind, said by a title and a sentence: what stands in a box of class mi-verdict.
 * @param {keyof typeof VERDICTS} kind
 * @param {string} title
 * @param {string} sentence
 */
export function verdictNodes(kind, title, sentence) {
  return [
    mark(VERDICTS[kind].path),
    make("div", {}, make("p", { class: "mi-verdict-title" }, title), make("p", {}, sentence)),
  ];
}

/**
 * @param {Judgement} result
 * @param {number} decimals
 */
function table(result, decimals) {
  const head = ["Order", "Deletion", "Insertion", "SRG"];
  const cell = (/** @type {Interval} */ score) => make("td", {}, fixed(score.value, decimals),
    make("span", { class: "mi-interval" }, span(score, decimals)));
  return make("table", { class: "mi-scores", id: "medinterp-scores" },
    make("caption", {}, "Areas under the curves, with 95 % intervals"),
    make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...ORDERS.map(([name, title]) => make("tr", {}, make("th", { scope: "row" }, title),
      ...SCORES.map((score) => cell(result[name][score]))))));
}

/**
 * Nodes for a FaithfulnessModel: { verdict, numbers }. one: a single word is selected; method: the title of the map's
 * method; sinksHidden: the picture leaves sink cells out, which the judged map has not.
 * @param {Judgement} result
 * @param {{ one: boolean, method: string, sinksHidden: boolean }} shown
 */
export function judgement(result, { one, method, sinksHidden }) {
  const it = one ? "the word" : "the words together";
  const before = percent(Math.exp(result.logprob));
  const after = percent(Math.exp(result.logprob - result.blank_drop));
  const others = COUNTS[result.swap_drops.length] ?? String(result.swap_drops.length);
  const curves = ORDERS.map(([name, label]) => ({ name, label, ...result[name] }));
  const decimals = decimalsFor(Math.max(...curves.flatMap((curve) => [...curve.deletion_curve, ...curve.insertion_curve])));
  const over = (/** @type {Interval} */ score) => `${fixed(score.value, decimals)} (${span(score, decimals)})`;
  const numbers = [
    make("ul", { class: "mi-reliance", id: "medinterp-reliance" },
      make("li", {}, "With a blank film ", it, " would be ", make("strong", {}, likelihood(result.blank_drop)),
        after === before ? "." : `: ${after} instead of ${before}.`),
      make("li", {}, `With ${others} other films: `, make("strong", {}, likelihoods(result.swap_drops)), ".")),
    make("p", { class: "mi-quiet" }, `Change of log-probability in nats: blank film ${nats(-result.blank_drop)}; other films `
      + `${result.swap_drops.map((drop) => nats(-drop)).join(", ")}.`),
    make("h3", {}, `Probability while cells are replaced, by ${method}`),
    curvesChart(result.fractions, curves, curvesText(result.fractions, curves)),
    make("p", { class: "mi-quiet" }, "A map that is right falls early when its cells are replaced (left), and rises early "
      + "when only they are shown (right)."),
    table(result, decimals),
    make("p", { class: "mi-quiet" }, "Deletion is good when low; insertion, and SRG (insertion less deletion), when high. "
      + `SRG of this map above random order: ${over(result.over_random)}; above the film's centre: ${over(result.over_centre)}.`),
    make("p", { class: "mi-quiet", id: "medinterp-replaced" }, "Cells of the film were replaced by the same cells of a blank "
      + `film and of ${others} drawn films; the report stayed as it was written.`),
  ];
  if (sinksHidden) {
    numbers.push(make("p", { class: "mi-quiet" }, "The map was judged with its sink cells, which the picture leaves out."));
  }
  return { verdict: verdictNodes(result.verdict, VERDICTS[result.verdict].title, result.sentence), numbers };
}
