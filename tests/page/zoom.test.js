import assert from "node:assert/strict";
import test from "node:test";

import { STEP, Zoom } from "../../medinterp/view/static/zoom.js";
import { random } from "./values.js";

const close = (one, other) => assert.ok(Math.abs(one - other) < 1e-6, `${one}, not ${other}`);

test("a film is fitted in the middle", () => {
  assert.deepEqual(new Zoom().place({ width: 100, height: 200 }, { width: 300, height: 300 }),
    { left: 75, top: 0, width: 150, height: 300 });
});

test("wherever one looks, the film covers the stage or stands in its middle", () => {
  const next = random(3);
  const zoom = new Zoom();
  for (let round = 0; round < 2000; round += 1) {
    const film = { width: 1 + 3000 * next(), height: 1 + 3000 * next() };
    const stage = { width: 1 + 1500 * next(), height: 1 + 1500 * next() };
    zoom.set(40 * next() - 5, 3 * next() - 1, 3 * next() - 1);
    assert.ok(zoom.factor >= 0.05 && zoom.factor <= 16);
    const place = zoom.place(film, stage);
    close(place.width / place.height / (film.width / film.height), 1);
    for (const [from, size, room] of [[place.left, place.width, stage.width], [place.top, place.height, stage.height]]) {
      if (size <= room) close(from, (room - size) / 2);
      else assert.ok(from <= 1e-9 && from + size >= room - 1e-6);
    }
  }
});

test("zooming about a point leaves it where it is, as far as the film covers the stage", () => {
  const next = random(6);
  for (let round = 0; round < 500; round += 1) {
    const film = { width: 300 + 3000 * next(), height: 300 + 3000 * next() };
    const stage = { width: 200 + 1000 * next(), height: 200 + 1000 * next() };
    const zoom = new Zoom();
    const at = ({ x, y }) => {
      const { left, top, width, height } = zoom.place(film, stage);
      return [left + x * width, top + y * height];
    };
    // Near enough for both sides to overflow, and looked at where the film has an edge on no side.
    zoom.set(8, 0.3 + 0.4 * next(), 0.3 + 0.4 * next());
    const { left, top, width, height } = zoom.place(film, stage);
    if (width < 2 * stage.width || height < 2 * stage.height) continue;
    const point = { x: (stage.width * next() - left) / width, y: (stage.height * next() - top) / height };
    const before = at(point);
    zoom.about(1 + next(), point, film, stage);
    const after = at(point);
    close(after[0], before[0]);
    close(after[1], before[1]);
  }
});

test("zooming in the middle stays there, and ends at both ends", () => {
  const zoom = new Zoom();
  zoom.set(2, 0.4, 0.6);
  for (let step = 0; step < 50; step += 1) zoom.by(STEP);
  assert.deepEqual([zoom.factor, zoom.x, zoom.y], [16, 0.4, 0.6]);
  for (let step = 0; step < 50; step += 1) zoom.by(1 / STEP);
  assert.equal(zoom.factor, 1);
  const [film, stage] = [{ width: 100, height: 100 }, { width: 50, height: 50 }];
  for (let step = 0; step < 50; step += 1) zoom.about(STEP, { x: 0.2, y: 0.3 }, film, stage);
  assert.equal(zoom.factor, 16);
  const { x, y } = zoom;
  zoom.about(STEP, { x: 0.9, y: 0.9 }, film, stage);
  close(zoom.x, x);
  close(zoom.y, y);
});

test("moving stops at the film's edge and comes back at once", () => {
  const [film, stage] = [{ width: 100, height: 50 }, { width: 100, height: 100 }];
  const zoom = new Zoom();
  zoom.set(1.5, 0.5, 0.5); // 150 x 75 on 100 x 100: moves across, not down
  for (let step = 0; step < 10; step += 1) zoom.move(0.5, 0.5, film, stage);
  assert.equal(zoom.y, 0.5);
  close(zoom.place(film, stage).left, -50);
  zoom.move(-0.1, 0, film, stage);
  close(zoom.place(film, stage).left, -35);
});

test("who listens is told of every change", () => {
  const zoom = new Zoom();
  let told = 0;
  zoom.onChange(() => { told += 1; });
  zoom.onChange(() => { told += 10; });
  zoom.by(2);
  zoom.fit();
  assert.equal(told, 22);
});
