import assert from "node:assert/strict";
import test from "node:test";

import { contour, paint, pixelTable, scaled, strengthOf } from "../../medinterp/view/static/draw.js";
import { compared, floats, furthest, octets, random, values } from "./values.js";

const RAMP = Uint8Array.from({ length: 768 }, (_, at) => Math.floor(at / 3));
const LOOK = { signed: false, opacity: 1, threshold: 0 };

/** What a browser shows: RGB of the pixels laid over grays. */
function over(pixels, gray) {
  const shown = new Float64Array(3 * pixels.length);
  for (let at = 0; at < pixels.length; at += 1) {
    const alpha = (pixels[at] >>> 24) / 255;
    for (let channel = 0; channel < 3; channel += 1) {
      const colour = (pixels[at] >>> (8 * channel)) & 255;
      shown[3 * at + channel] = Math.round(gray[at] + alpha * (colour - gray[at]));
    }
  }
  return shown;
}

test("the scale is that of medinterp.render", compared, () => {
  assert.ok(values.drawn.length >= 6);
  for (const one of values.drawn) {
    assert.ok(furthest(scaled(floats(one.values), one.range, one.signed), floats(one.shares)) < 2e-6, one.name);
  }
});

/** Pictures are of bytes: alpha and the steps of the scale are rounded, on steep maps by up to three gray levels. */
function assertAlike(one, other, name) {
  const away = Array.from(one, (value, at) => Math.abs(value - other[at]));
  const [most, more] = [Math.max(0, ...new Set(away)), away.filter((distance) => distance > 1).length];
  assert.ok(one.length === other.length && most <= 3 && more <= 0.005 * away.length, `${name}: ${most}, ${more} above 1`);
}

test("a picture is that of medinterp.render, with lines and without", compared, () => {
  for (const one of values.drawn) {
    const { width, height, signed, opacity } = one;
    const table = octets(one.colours);
    const pixels = new Uint32Array(width * height);
    const place = { left: 0, top: 0, width, height };
    const shares = scaled(floats(one.values), one.range, signed);
    paint(pixels, width, height, place, shares, one, pixelTable(table, { signed, opacity, threshold: 0 }));
    const film = octets(one.gray);
    assertAlike(over(pixels, film), octets(one.picture), `${one.name}, plain`);
    const levels = one.levels.map((level) => {
      const at = 3 * Math.round(level * 255);
      return { level, colour: [table[at], table[at + 1], table[at + 2]] };
    });
    contour(pixels, width, height, place, shares, one, { signed, levels, thickness: Math.max(1, Math.max(width, height) / 500) });
    const wanted = octets(one.lined);
    assert.ok(furthest(octets(one.picture), wanted) > 10, `${one.name}: Python drew no line`);
    assertAlike(over(pixels, film), wanted, `${one.name}, lines`);
  }
});

test("an empty range draws nothing", () => {
  assert.deepEqual([...scaled(new Float32Array([0, 5]), [0, 0], false)], [0, 0]);
});

test("around the film nothing is drawn, and a film that lies elsewhere is the same film", () => {
  const next = random(1);
  const shares = Float32Array.from({ length: 12 }, next);
  const grid = { rows: 3, columns: 4 };
  const table = pixelTable(RAMP, LOOK);
  const whole = new Uint32Array(40 * 30);
  paint(whole, 40, 30, { left: 0, top: 0, width: 40, height: 30 }, shares, grid, table);
  for (const [left, top] of [[5, 7], [-11, 3], [0, -20], [100, 0]]) {
    const moved = new Uint32Array(60 * 50);
    moved.fill(7);
    paint(moved, 60, 50, { left, top, width: 40, height: 30 }, shares, grid, table);
    for (let y = 0; y < 50; y += 1) {
      for (let x = 0; x < 60; x += 1) {
        const inside = x >= left && x < left + 40 && y >= top && y < top + 30;
        assert.equal(moved[60 * y + x], inside ? whole[40 * (y - top) + x - left] : 0);
      }
    }
  }
});

test("cells stand where they belong, in grids of any shape", () => {
  for (const grid of [{ rows: 1, columns: 1 }, { rows: 1, columns: 5 }, { rows: 5, columns: 1 }, { rows: 7, columns: 3 }]) {
    for (let cell = 0; cell < grid.rows * grid.columns; cell += 1) {
      const shares = new Float32Array(grid.rows * grid.columns);
      shares[cell] = 1;
      const [width, height] = [20 * grid.columns, 10 * grid.rows];
      const pixels = new Uint32Array(width * height);
      paint(pixels, width, height, { left: 0, top: 0, width, height }, shares, grid, pixelTable(RAMP, LOOK));
      const x = 20 * (cell % grid.columns) + 10;
      const y = 10 * Math.floor(cell / grid.columns) + 5;
      assert.ok(pixels[y * width + x] >>> 24 > 235, `cell ${cell} of ${grid.rows} x ${grid.columns}`);
      const other = (cell + 1) % shares.length;
      if (other !== cell) {
        const far = (10 * Math.floor(other / grid.columns) + 5) * width + 20 * (other % grid.columns) + 10;
        assert.ok(pixels[far] >>> 24 < 25, `beside cell ${cell} of ${grid.rows} x ${grid.columns}`);
      }
    }
  }
});

test("what is below the threshold is not drawn, what is above it is drawn as before", () => {
  const free = pixelTable(RAMP, { signed: true, opacity: 0.5, threshold: 0 });
  const cut = pixelTable(RAMP, { signed: true, opacity: 0.5, threshold: 0.4 });
  for (let level = 0; level < free.length; level += 1) {
    const strength = strengthOf(level / (free.length - 1), true);
    assert.equal(cut[level], strength < 0.4 ? free[level] & 0xffffff : free[level]);
  }
  assert.equal(free[0] >>> 24, 128); // the ends are the strongest, at half opacity
  assert.equal(free[(free.length - 1) / 2] >>> 24, 0);
});

test("a line follows its level, in the middle of two columns", () => {
  const pixels = new Uint32Array(200 * 20);
  contour(pixels, 200, 20, { left: 0, top: 0, width: 200, height: 20 }, new Float32Array([0, 1]), { rows: 1, columns: 2 },
    { signed: false, levels: [{ level: 0.5, colour: [9, 8, 7] }], thickness: 2 });
  const drawn = Array.from({ length: 200 }, (_, x) => pixels[10 * 200 + x]).flatMap((pixel, x) => (pixel >>> 24 ? [x] : []));
  assert.deepEqual(drawn, [99, 100]);
  assert.equal(pixels[10 * 200 + 99], ((255 << 24) | (7 << 16) | (8 << 8) | 9) >>> 0);
});
