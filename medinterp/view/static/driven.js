// Which words a region of the film drove, by any method's maps. As medinterp.relevancy.region.

/**
 * The share of each cell that lies inside a box, Float32Array [rows x columns].
 * @param {{ left: number, top: number, right: number, bottom: number }} box in shares of the film
 */
export function coverageOf({ left, top, right, bottom }, rows, columns) {
  const along = (from, to, count) => Float32Array.from({ length: count }, (_, at) =>
    Math.max(0, Math.min(1, to * count - at) - Math.max(0, from * count - at)));
  const [down, across] = [along(top, bottom, rows), along(left, right, columns)];
  return Float32Array.from({ length: rows * columns }, (_, cell) =>
    down[Math.floor(cell / columns)] * across[cell % columns]);
}

/**
 * Words, those first that the region drove most: [{ index, value, share }]. value: the word's map averaged over the
 * region; share: how much of the map's positive sum lies in it.
 */
export function drivenWords(pack, words, coverage, options) {
  const area = coverage.reduce((sum, part) => sum + part, 0);
  if (!(area > 0)) return [];
  const scored = words.filter((word) => word.token_indices.length).map((word) => {
    const map = pack.map(word.token_indices, options);
    let [inside, within, positive] = [0, 0, 0];
    for (let cell = 0; cell < map.length; cell += 1) {
      inside += map[cell] * coverage[cell];
      const above = Math.max(0, map[cell]);
      within += above * coverage[cell];
      positive += above;
    }
    return { index: word.index, value: inside / area, share: positive > 0 ? within / positive : 0 };
  });
  return scored.sort((one, other) => other.value - one.value || one.index - other.index);
}
