import assert from "node:assert/strict";
import test from "node:test";

import { showReading, underlined } from "../../medinterp/view/static/sentences.js";
import { element, text } from "./stub.js";

const TEXT = "One. Two. Three.";
const SENTENCES = [{ start: 0, end: 4, reading: "read" }, { start: 5, end: 9, reading: "unread" }, { start: 10, end: 16, reading: "other" }];
const run = (start, end) => (start < end ? [text(TEXT.slice(start, end))] : []);
const told = (nodes) => nodes.map((node) => [node.attributes.class ?? "", node.textContent]);

test("what was not understood is underlined, every letter stays once", () => {
  assert.deepEqual(told(underlined(SENTENCES, 0, 16, run)), [["", "One. "], ["mi-unread", "Two."], ["", " Three."]]);
  assert.deepEqual(told(underlined(SENTENCES, 6, 8, run)), [["mi-unread", "wo"]]);
  assert.deepEqual(told(underlined(SENTENCES, 10, 16, run)), [["", "Three."]]);
  for (let start = 0; start < TEXT.length; start += 1) {
    for (let end = start; end <= TEXT.length; end += 1) {
      assert.equal(underlined(SENTENCES, start, end, run).map((node) => node.textContent).join(""), TEXT.slice(start, end));
    }
  }
});

test("the dots are explained where there are any, with counts", () => {
  const line = element("sentences");
  showReading(SENTENCES);
  assert.equal(line.hidden, false);
  assert.equal(line.textContent, "Dotted: not understood, no finding was taken from it. 1 sentence read, 1 not about findings, 1 unread.");
  showReading([...SENTENCES.slice(0, 2), SENTENCES[0]]);
  assert.match(line.textContent, / 2 sentences read, 1 unread\.$/);
  showReading(SENTENCES.slice(0, 1));
  assert.deepEqual([line.hidden, line.textContent], [true, ""]);
});
