// What the document was made with: where the API is, and the colour tables that overlays are drawn with.

import { byId } from "./dom.js";

/**
 * As medinterp.view.document writes them.
 * @type {{ apiRoot: string | null, colormaps: Record<string, string>, defaults: { plain: string, signed: string },
 *   contourLevels: number[] }}
 */
const settings = JSON.parse(byId("settings-data").textContent);

/** The API's root, null in a file that stands by itself. */
export const API_ROOT = settings.apiRoot;

/** Shares of the scale at which contours run, lower ones first. */
export const CONTOUR_LEVELS = settings.contourLevels;

const tables = Object.fromEntries(Object.entries(settings.colormaps).map(([name, data]) =>
  [name, Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))]));

/**
 * The 256 RGB colours of a name, or of "" those that suit the map.
 * @param {string} name
 * @param {boolean} signed
 */
export function colours(name, signed) {
  return tables[name || settings.defaults[signed ? "signed" : "plain"]];
}

/**
 * A colour of a table: `share` of its length.
 * @param {Uint8Array} table
 * @param {number} share
 */
export function colourAt(table, share) {
  const at = 3 * Math.round(share * 255);
  return [table[at], table[at + 1], table[at + 2]];
}
