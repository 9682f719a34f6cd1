// A map's colours, pixel by pixel: what medinterp.render.overlay draws, for a canvas that lies on the film. Pure
// functions of numbers, the same on every page.

/** @import { Contour, Grid, Place, Range } from "./types" */

const LEVELS = 1275; // steps of the scale: five to each of the 256 colours, so that opacity is finer than they are; an odd
// number, so that a colour ends between two steps, where the server's ends

/**
 * Where a map's values stand on the colour scale, 0..1 (all 0 on an empty range): the square root of their share of the
 * range, for signed maps on both sides of 0.5. As medinterp.render.scaled.
 * @param {Float32Array} values
 * @param {Range} range
 * @param {boolean} signed
 */
export function scaled(values, [low, high], signed) {
  const shares = new Float32Array(values.length);
  if (high <= low) return shares;
  for (let cell = 0; cell < values.length; cell += 1) {
    const share = Math.min(1, Math.max(0, (values[cell] - low) / (high - low)));
    const distance = 2 * share - 1;
    shares[cell] = signed ? 0.5 + 0.5 * Math.sign(distance) * Math.sqrt(Math.abs(distance)) : Math.sqrt(share);
  }
  return shares;
}

/**
 * How strongly a place of the scale is drawn, 0..1: for signed maps its distance from the middle.
 * @param {number} share
 * @param {boolean} signed
 */
export function strengthOf(share, signed) {
  return signed ? Math.abs(share - 0.5) * 2 : share;
}

/**
 * The pixel (RGBA in a little-endian word) of each level of the scale.
 * @param {Uint8Array} colours 256 RGB colours, low to high
 * @param {{ signed: boolean, opacity: number, threshold: number }} look what lies below the threshold is not drawn
 */
export function pixelTable(colours, { signed, opacity, threshold }) {
  const table = new Uint32Array(LEVELS + 1);
  for (let level = 0; level <= LEVELS; level += 1) {
    const share = level / LEVELS;
    const strength = strengthOf(share, signed);
    const alpha = strength < threshold ? 0 : Math.round(255 * opacity * strength);
    const at = 3 * Math.round(share * 255);
    table[level] = ((alpha << 24) | (colours[at + 2] << 16) | (colours[at + 1] << 8) | colours[at]) >>> 0;
  }
  return table;
}

/**
 * For each pixel of a line: the cell before it, and how far it is on its way to the next (bilinear between cell
 * centres; outside the outermost ones their values hold).
 * @param {number} pixels how many
 * @param {number} cells how many
 * @param {number} start where the film begins
 * @param {number} size how long it is
 */
function places(pixels, cells, start, size, nearest = false) {
  const first = new Int32Array(pixels);
  const share = new Float32Array(pixels);
  for (let pixel = 0; pixel < pixels; pixel += 1) {
    const place = ((pixel + 0.5 - start) * cells) / size;
    const at = Math.min(cells - 1, Math.max(0, nearest ? Math.floor(place) : place - 0.5));
    first[pixel] = Math.min(Math.floor(at), Math.max(0, cells - 2));
    share[pixel] = at - first[pixel];
  }
  return { first, share };
}

/**
 * The first pixel whose centre is on the film, and the first behind it.
 * @param {number} pixels how many
 * @param {number} start
 * @param {number} size
 */
function extent(pixels, start, size) {
  return [Math.max(0, Math.ceil(start - 0.5)), Math.min(pixels, Math.ceil(start + size - 0.5))];
}

/**
 * Calls line(y, cells): `cells` are the values of the grid's columns at the height of pixel line y.
 * @param {Float32Array} shares
 * @param {Grid} grid
 * @param {number} height
 * @param {Place} place
 * @param {(y: number, cells: Float32Array) => void} line
 */
function eachLine(shares, { rows, columns, nearest }, height, place, line) {
  const down = places(height, rows, place.top, place.height, nearest);
  const [from, to] = extent(height, place.top, place.height);
  const cells = new Float32Array(columns + 1); // the last one twice: the line below reads one further
  for (let y = from; y < to; y += 1) {
    const above = down.first[y] * columns;
    const below = rows > 1 ? above + columns : above;
    const share = down.share[y];
    for (let column = 0; column < columns; column += 1) {
      cells[column] = shares[above + column] + (shares[below + column] - shares[above + column]) * share;
    }
    cells[columns] = cells[columns - 1];
    line(y, cells);
  }
}

/**
 * Paint a map into `pixels`.
 * @param {Uint32Array} pixels width x height words of RGBA
 * @param {number} width
 * @param {number} height
 * @param {Place} place where the film lies among them, in pixels; around it nothing is drawn
 * @param {Float32Array} shares rows x columns, as `scaled` gives them
 * @param {Grid} grid
 * @param {Uint32Array} table of `pixelTable`
 */
export function paint(pixels, width, height, place, shares, grid, table) {
  pixels.fill(0);
  const across = places(width, grid.columns, place.left, place.width, grid.nearest);
  const [from, to] = extent(width, place.left, place.width);
  eachLine(shares, grid, height, place, (y, cells) => {
    const line = y * width;
    for (let x = from; x < to; x += 1) {
      const at = across.first[x];
      const value = cells[at] + (cells[at + 1] - cells[at]) * across.share[x];
      pixels[line + x] = table[(value * LEVELS + 0.5) | 0];
    }
  });
}

/**
 * Paint grays through a table into `pixels`, bilinear between the centres of theirs.
 * @param {Uint32Array} pixels width x height words of RGBA
 * @param {number} width
 * @param {number} height
 * @param {{ place: Place, whole: Place }} places where the film lies among them; and where all of the grays do
 * @param {{ width: number, height: number, values: Uint16Array }} grays
 * @param {Uint8ClampedArray} table the shade of each gray
 */
export function paintGrays(pixels, width, height, { place, whole }, grays, table) {
  pixels.fill(0);
  const across = places(width, grays.width, whole.left, whole.width);
  const down = places(height, grays.height, whole.top, whole.height);
  const [left, right] = extent(width, place.left, place.width);
  const [top, bottom] = extent(height, place.top, place.height);
  const { values } = grays;
  const next = grays.width > 1 ? 1 : 0;
  for (let y = top; y < bottom; y += 1) {
    const above = down.first[y] * grays.width;
    const below = grays.height > 1 ? above + grays.width : above;
    const share = down.share[y];
    for (let x = left; x < right; x += 1) {
      const at = across.first[x];
      const over = values[above + at] + (values[above + at + next] - values[above + at]) * across.share[x];
      const under = values[below + at] + (values[below + at + next] - values[below + at]) * across.share[x];
      pixels[y * width + x] = (0xff000000 | (table[(over + (under - over) * share + 0.5) | 0] * 0x10101)) >>> 0;
    }
  }
}

/**
 * The strength at each pixel, and NaN around the film.
 * @param {number} width
 * @param {number} height
 * @param {Place} place
 * @param {Float32Array} shares
 * @param {Grid} grid
 * @param {boolean} signed
 */
function strengths(width, height, place, shares, grid, signed) {
  const plane = new Float32Array(width * height).fill(NaN);
  const across = places(width, grid.columns, place.left, place.width, grid.nearest);
  const [from, to] = extent(width, place.left, place.width);
  eachLine(shares, grid, height, place, (y, cells) => {
    for (let x = from; x < to; x += 1) {
      const at = across.first[x];
      plane[y * width + x] = strengthOf(cells[at] + (cells[at + 1] - cells[at]) * across.share[x], signed);
    }
  });
  return plane;
}

/**
 * The slope along a line of pixels: central differences, one-sided where the film ends.
 * @param {Float32Array} plane
 * @param {number} at
 * @param {number} before
 * @param {number} behind
 */
function slope(plane, at, before, behind) {
  const low = before >= 0 && !Number.isNaN(plane[before]) ? before : at;
  const high = behind >= 0 && !Number.isNaN(plane[behind]) ? behind : at;
  const steps = (low === at ? 0 : 1) + (high === at ? 0 : 1);
  return steps === 0 ? 0 : (plane[high] - plane[low]) / steps;
}

/**
 * Draw lines where the strength crosses each level, over what `paint` drew. The line's coverage of a pixel is
 * clip(thickness / 2 + 1 / 2 - |strength - level| / slope, 0, 1), as in medinterp.render.overlay.
 * @param {Uint32Array} pixels
 * @param {number} width
 * @param {number} height
 * @param {Place} place
 * @param {Float32Array} shares
 * @param {Grid} grid
 * @param {{ signed: boolean, levels: Contour[], thickness: number }} lines lower levels first
 */
export function contour(pixels, width, height, place, shares, grid, { signed, levels, thickness }) {
  const plane = strengths(width, height, place, shares, grid, signed);
  const reach = thickness / 2 + 0.5;
  const furthest = reach * steepest(shares, grid, place) * (signed ? 2 : 1); // no line reaches a pixel that is further off
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = y * width + x;
      const value = plane[at];
      if (Number.isNaN(value)) continue;
      let steepness = -1;
      for (const { level, colour } of levels) {
        const away = Math.abs(value - level);
        if (away > furthest) continue;
        if (steepness < 0) {
          steepness = Math.max(1e-6, Math.hypot(
            slope(plane, at, x > 0 ? at - 1 : -1, x + 1 < width ? at + 1 : -1),
            slope(plane, at, y > 0 ? at - width : -1, y + 1 < height ? at + width : -1),
          ));
        }
        const coverage = Math.min(1, reach - away / steepness);
        if (coverage > 0) pixels[at] = over(pixels[at], colour, coverage);
      }
    }
  }
}

/**
 * A bound of the slope of shares, in shares a pixel: between two cells it is steady along a line of pixels.
 * @param {Float32Array} shares
 * @param {Grid} grid
 * @param {Place} place
 */
function steepest(shares, { rows, columns }, place) {
  let across = 0;
  let down = 0;
  for (let cell = 0; cell < rows * columns; cell += 1) {
    if ((cell + 1) % columns) across = Math.max(across, Math.abs(shares[cell + 1] - shares[cell]));
    if (cell + columns < rows * columns) down = Math.max(down, Math.abs(shares[cell + columns] - shares[cell]));
  }
  return Math.hypot((across * columns) / place.width, (down * rows) / place.height);
}

/**
 * A colour of some coverage laid over a pixel.
 * @param {number} pixel
 * @param {number[]} colour
 * @param {number} coverage
 */
function over(pixel, colour, coverage) {
  const under = (pixel >>> 24) / 255;
  const alpha = coverage + under * (1 - coverage);
  const mix = (/** @type {number} */ channel, /** @type {number} */ shift) =>
    Math.round((colour[channel] * coverage + ((pixel >>> shift) & 255) * under * (1 - coverage)) / alpha);
  return ((Math.round(255 * alpha) << 24) | (mix(2, 16) << 16) | (mix(1, 8) << 8) | mix(0, 0)) >>> 0;
}
