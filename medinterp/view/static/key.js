// The colour key under the film: what the colours stand for, how much of the map lies on the film, and what the picture
// can be compared with.

/** @import { Viewer } from "./viewer.js" */

import { byId, compact, contextOf, percent } from "./dom.js";
import { peak, uncalibrated } from "./packs.js";
import { colours } from "./settings.js";

const FAINT = 0.05; // of the report's range: below it the colours cannot be seen on a film
const SHARES = "attention weight"; // the unit whose sum over all positions is 1
const SPREAD = "standard deviation of the members' ranks";

export class Key {
  constructor() {
    /** @type {Uint8Array | null} */
    this.strip = null; // its colours
  }

  /**
   * Numbers at its ends for the report's shared range, words for a stretched one, a tick where the selection's strongest
   * cell stands.
   * @param {Viewer} viewer
   */
  show(viewer) {
    const { map, guest, options, method } = viewer;
    const whole = viewer.scale === "report";
    const pack = whole ? viewer.pack : null;
    const shared = guest !== null || pack !== null;
    const signed = map?.signed ?? viewer.pack?.signed ?? false;
    const [bottom, top] = guest?.range ?? pack?.range(options) ?? [0, 0];
    const above = guest === null && pack !== null && pack.exceeded(options);
    const low = shared ? compact(bottom) : "low";
    const high = shared ? `${above ? "≥ " : ""}${compact(top)}` : "high";
    const table = colours(byId("colormap").value, signed);
    if (table !== this.strip) drawStrip(byId("key-strip"), table);
    this.strip = table;
    byId("key").classList.toggle("mi-signed", signed);
    byId("key-low").textContent = signed ? `against ${shared ? low : ""}` : low;
    byId("key-high").textContent = signed ? `${shared ? high : ""} for` : high;
    const share = shared && map !== null && top > 0 ? peak(map.values, signed) / top : null;
    const tick = byId("key-tick");
    tick.hidden = share === null;
    const place = Math.sqrt(Math.min(1, share ?? 0)); // as the colours stand, see medinterp.render.scaled
    tick.style.left = `${100 * (signed ? (1 + place) / 2 : place)}%`;
    const onFilm = byId("key-share");
    const shares = guest !== null || (method?.unit === SHARES && viewer.quantity === "relevancy");
    const onTheFilm = map !== null && shares ? `${percent(sum(map.values))} on the film` : "";
    const doubt = guest === null && uncalibrated(viewer.pack?.notes ?? []) ? "uncalibrated" : "";
    onFilm.textContent = [doubt, onTheFilm].filter(Boolean).join(" · ");
    const unit = guest !== null ? SHARES : viewer.quantity === "relevancy" ? (method?.unit ?? "") : SPREAD;
    byId("key").title = unit ? `The colours stand for: ${unit}` : "";
    byId("key-strip").setAttribute("aria-label", `Colours from low to high${unit ? `: ${unit}` : ""}`);
    const note = byId("scale-note");
    note.classList.toggle("mi-warning", !whole && guest === null);
    note.textContent = noteOf({ guest: guest !== null, whole, share, signed });
  }
}

/** @param {{ guest: boolean, whole: boolean, share: number | null, signed: boolean }} drawn */
function noteOf({ guest, whole, share, signed }) {
  if (guest) return "One square-root colour range for all layers and heads.";
  if (!whole) return "Stretched to this word alone: a faint map looks as strong as a clear one. Do not compare words.";
  if (share !== null && share < FAINT) {
    return `Faint: the strongest cell reaches ${Math.round(100 * share)} % of the report's range. “This word” stretches it.`;
  }
  if (signed) return "One square-root colour range for the report. Without a cell “against” it, a word is likelier.";
  const said = "One square-root colour range for the whole report: words can be compared.";
  return share === null ? said
    : `${said} Here the strongest cell reaches ${Math.round(100 * share)} % of its top (the line on the colours).`;
}

/** @param {Float32Array} values */
function sum(values) {
  return values.reduce((all, value) => all + value, 0);
}

/**
 * A colour table as a strip of 256 x 1 pixels, lowest value on the left.
 * @param {HTMLCanvasElement} canvas
 * @param {Uint8Array} table
 */
function drawStrip(canvas, table) {
  const context = contextOf(canvas);
  const line = context.createImageData(256, 1);
  for (let at = 0; at < 256; at += 1) line.data.set([...table.subarray(3 * at, 3 * at + 3), 255], 4 * at);
  context.putImageData(line, 0, 0);
}
