import assert from "node:assert/strict";
import test from "node:test";

import { read, written } from "../../medinterp/view/static/link.js";
import { random } from "./values.js";

const EMPTY = { report: null, words: null, finding: null, method: null, image: 0, scale: "report", quantity: "relevancy",
  box: null, zoom: null, window: null, tab: null };

/** A view as the page can have it: numbers as exact as the address keeps them. */
function view(next) {
  const whole = (below) => Math.floor(next() * below);
  const some = (make) => (next() < 0.5 ? null : make());
  const list = (count, decimals) => Array.from({ length: count }, () => Number((20 * next()).toFixed(decimals)));
  const first = whole(500);
  const words = some(() => [first, first + whole(500)]);
  return {
    report: Array.from({ length: 32 }, () => "0123456789abcdef"[whole(16)]).join(""),
    words,
    finding: words === null ? some(() => whole(99)) : null,
    method: some(() => ["raw", "occlusion", "a method, of & = # ? signs", "größer 胸 🫁"][whole(4)]),
    image: whole(2),
    scale: ["report", "map"][whole(2)],
    quantity: ["relevancy", "disagreement"][whole(2)],
    box: some(() => {
      const [left, top] = [next() / 2, next() / 2];
      return [left, top, left + 0.01 + next() / 3, top + 0.01 + next() / 3].map((share) => Number(share.toFixed(4)));
    }),
    zoom: some(() => list(3, 3)),
    window: some(() => list(3, 2)),
    tab: some(() => ["word", "text", "heads", "region"][whole(4)]),
  };
}

test("a thousand views come back as they were", () => {
  const next = random(4);
  for (let round = 0; round < 1000; round += 1) {
    const state = view(next);
    const address = written(state);
    assert.ok(address.startsWith(`#report=${state.report}`));
    assert.match(address, /^#[\x21-\x7e]*$/);
    assert.deepEqual(read(address), state);
    assert.equal(written(read(address)), address);
  }
});

test("without a report there is nothing to tell", () => {
  assert.equal(written({ ...EMPTY, method: "raw" }), "");
  assert.deepEqual(read(""), EMPTY);
  assert.deepEqual(read("#"), EMPTY);
});

test("what is not understood is left out, and nothing throws", () => {
  const id = "a".repeat(32);
  const hostile = ["report=../../etc", `report=${"a".repeat(65)}`, "report=<script>", "report=a%2Fb%2F..%2Faaaaaaaaaaaaaaaa", "report=%00".repeat(9)];
  for (const part of hostile) assert.equal(read(`#${part}`).report, null);
  for (const part of ["words=5", "words=-1-3", "words=1-2-3", "words=1e3-2", "words=1234567-3", "words=a-b", "words="]) {
    assert.equal(read(`#report=${id}&${part}`).words, null, part);
  }
  for (const part of ["box=1,2,3", "box=1,2,3,4,5", "box=NaN,0,0,0", "box=Infinity,0,0,0", "box=a,b,c,d", "box=0,0,1,0x1",
    "box=,,,", "box=0,0,0,0", "box=0.5,0,0.5,1", "box=0,0.6,1,0.5", "box=-0.1,0,1,1", "box=0,0,1,1.1", "box=0,0,1,1e0", "box= 0,0,1,1"]) {
    assert.equal(read(`#report=${id}&${part}`).box, null, part);
  }
  assert.deepEqual(read(`#report=${id}&box=0,0,1,1`).box, [0, 0, 1, 1]);
  for (const part of ["finding=-1", "finding=1.5", "finding=%F0%9F%92%A9", "finding=9999999"]) {
    assert.equal(read(`#report=${id}&${part}`).finding, null, part);
  }
  assert.equal(read(`#report=${id}&image=x`).image, 0);
  assert.equal(read(`#report=${id}&scale=MAP`).scale, "report");
  assert.equal(read(`#report=${id}&quantity=constructor`).quantity, "relevancy");
  assert.equal(read("#%E0%A4%A").report, null); // a broken escape
  assert.equal(read(`#report=${id}&report=${"b".repeat(32)}`).report, id);
});

test("any text is read without a throw, and what comes of it is written and read again", () => {
  const next = random(5);
  const letters = "#&=,-+%.0123456789eNanreportwordsboxzoomwindow<>\"'/\\ \u0000é🫁";
  const points = Array.from(letters);
  for (let round = 0; round < 3000; round += 1) {
    const noise = Array.from({ length: 40 }, () => points[Math.floor(next() * points.length)]).join("");
    const state = read(`#report=${"c".repeat(20)}&${noise}`);
    for (const key of ["box", "zoom", "window"]) assert.ok(state[key] === null || state[key].every(Number.isFinite));
    assert.doesNotThrow(() => read(written(state)));
  }
});
