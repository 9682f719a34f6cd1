// The view as an address: report and view stand behind the "#", which no browser sends to a server. The report's id is
// what lets one read it, so the link works for as long as the report is kept, and for whoever has it.

/** @import { ViewState } from "./types" */

const ID = /^[\w-]{16,64}$/;
const NUMBER = /^-?\d{1,9}(\.\d{1,9})?$/;

/**
 * { report, words: [first, last] or null, finding, method, image, box, ... } as text behind "#", without what is not set.
 * @param {ViewState} state
 */
export function written(state) {
  if (state.report === null) return "";
  const parts = new URLSearchParams({ report: state.report });
  if (state.words) parts.set("words", state.words.join("-"));
  if (state.finding !== null) parts.set("finding", String(state.finding));
  if (state.method) parts.set("method", state.method);
  if (state.image) parts.set("image", String(state.image));
  if (state.scale === "map") parts.set("scale", "map");
  if (state.quantity === "disagreement") parts.set("quantity", "disagreement");
  if (state.box) parts.set("box", state.box.map((share) => share.toFixed(4)).join(","));
  if (state.zoom) parts.set("zoom", state.zoom.map((number) => number.toFixed(3)).join(","));
  if (state.window) parts.set("window", state.window.map((number) => number.toFixed(3)).join(","));
  if (state.tab) parts.set("tab", state.tab);
  return `#${parts}`;
}

/**
 * The same from an address; what is not understood is left out.
 * @param {string} hash
 * @returns {ViewState}
 */
export function read(hash) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const whole = (/** @type {string | null} */ text) => (text !== null && /^\d{1,6}$/.test(text) ? Number(text) : null);
  const list = (/** @type {string} */ name, /** @type {number} */ count) => {
    const found = (parts.get(name) ?? "").split(",");
    return found.length === count && found.every((text) => NUMBER.test(text)) ? found.map(Number) : null;
  };
  const box = list("box", 4);
  const report = parts.get("report");
  const words = /^(\d{1,6})-(\d{1,6})$/.exec(parts.get("words") ?? "");
  return {
    report: report !== null && ID.test(report) ? report : null,
    words: words ? [Number(words[1]), Number(words[2])] : null,
    finding: whole(parts.get("finding")),
    method: parts.get("method"),
    image: whole(parts.get("image")) ?? 0,
    scale: parts.get("scale") === "map" ? "map" : "report",
    quantity: parts.get("quantity") === "disagreement" ? "disagreement" : "relevancy",
    box: box !== null && isBox(box) ? box : null,
    zoom: list("zoom", 3),
    window: list("window", 3),
    tab: parts.get("tab"),
  };
}

/**
 * Whether numbers are a part of the film.
 * @param {number[]} box
 */
function isBox([left, top, right, bottom]) {
  return left >= 0 && left < right && right <= 1 && top >= 0 && top < bottom && bottom <= 1;
}
