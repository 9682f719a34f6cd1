// Which words a region of the film drove, by any method's maps. As medinterp.relevancy.region.

/** @import { Box, Drawn, Word } from "./types" */
/** @import { Pack } from "./packs.js" */

/**
 * The share of each cell that lies inside a box, Float32Array [rows x columns].
 * @param {Box} box in shares of the film
 * @param {number} rows
 * @param {number} columns
 */
export function coverageOf({ left, top, right, bottom }, rows, columns) {
  const along = (/** @type {number} */ from, /** @type {number} */ to, /** @type {number} */ count) => Float32Array.from({ length: count }, (_, at) =>
    Math.max(0, Math.min(1, to * count - at) - Math.max(0, from * count - at)));
  const [down, across] = [along(top, bottom, rows), along(left, right, columns)];
  return Float32Array.from({ length: rows * columns }, (_, cell) =>
    down[Math.floor(cell / columns)] * across[cell % columns]);
}

/**
 * Words, those first that the region drove most: [{ index, value, share }]. value: the word's map averaged over the
 * region; share: how much of the map's positive sum lies in it. Without the quantity that is asked for, none.
 * @param {Pick<Pack, "map">} pack
 * @param {Pick<Word, "index" | "token_indices">[]} words
 * @param {Float32Array} coverage
 * @param {Drawn} options
 */
export function drivenWords(pack, words, coverage, options) {
  const area = coverage.reduce((sum, part) => sum + part, 0);
  if (!(area > 0)) return [];
  const scored = words.flatMap((word) => {
    const map = pack.map(word.token_indices, options);
    if (map === null) return [];
    let [inside, within, positive] = [0, 0, 0];
    for (let cell = 0; cell < map.length; cell += 1) {
      inside += map[cell] * coverage[cell];
      const above = Math.max(0, map[cell]);
      within += above * coverage[cell];
      positive += above;
    }
    return [{ index: word.index, value: inside / area, share: positive > 0 ? within / positive : 0 }];
  });
  return scored.sort((one, other) => other.value - one.value || one.index - other.index);
}
