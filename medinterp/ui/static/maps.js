// The words' maps of one report by one method, as numbers: for the colour key and the read-out.

/** { dtype, shape, data: base64 } to the numbers, little-endian. */
function decodeFloats({ dtype, shape, data }) {
  if (dtype !== "float32") throw new Error(`The words' maps are float32, not ${dtype}.`);
  const view = new DataView(Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)).buffer);
  const size = shape.reduce((product, length) => product * length, 1);
  return Float32Array.from({ length: size }, (_, index) => view.getFloat32(4 * index, true));
}

/** Answer of /reports/{id}/maps: rows, columns, low, high, signed, notes, and a value for each word and cell. */
export class Maps {
  constructor(answer) {
    Object.assign(this, answer);
    this.cells = this.rows * this.columns;
    this.values = decodeFloats(answer.words);
    // A flag is one byte, 0 or 1.
    this.hasSinks = answer.sinks !== null && atob(answer.sinks.data).includes("\u0001");
    this.exceeded = this.values.some((value) => Math.abs(value) > this.high * 1.0001);
  }

  /**
   * The map of some words of the report together, as the server joins their tokens; null where words share a token,
   * of which the words' own maps do not tell.
   */
  joined(words) {
    const tokens = words.flatMap((word) => word.token_indices);
    if (tokens.length === 0 || new Set(tokens).size < tokens.length) return null;
    const map = new Float32Array(this.cells);
    for (const word of words) {
      const weight = this.additive ? 1 : word.token_indices.length / tokens.length;
      for (let cell = 0; cell < this.cells; cell += 1) map[cell] += weight * this.values[word.index * this.cells + cell];
    }
    return map;
  }

  /** A map's strongest cell as a share of the report's range; above 1 for the few sharpest words. */
  peakShare(map) {
    const top = Math.max(Math.abs(this.low), Math.abs(this.high));
    return top > 0 ? map.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / top : 0;
  }
}
