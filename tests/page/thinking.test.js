import assert from "node:assert/strict";
import test from "node:test";

import { cutOff, folded, isThought, outside, parted, spoken, unmarked, withinMarks } from "../../medinterp/view/static/thinking.js";
import { text } from "./stub.js";

const MEDGEMMA = "<unused94>thought\nIs it there?<unused95>\nLUNGS: Clear.";
const GEMMA = "<|channel>thought\nIs it there?<channel|>LUNGS: Clear.";

test("a thought and the report behind it, by the marks of both families", () => {
  for (const whole of [MEDGEMMA, GEMMA]) {
    assert.deepEqual(parted(whole), [{ text: "", thought: false }, { text: "Is it there?", thought: true }, { text: "LUNGS: Clear.", thought: false }]);
    assert.equal(spoken(whole), "LUNGS: Clear.");
  }
  assert.deepEqual(parted("LUNGS: Clear."), [{ text: "LUNGS: Clear.", thought: false }]);
});

test("wherever the stream stands, no mark is shown, and what was said stays said", () => {
  for (const whole of [MEDGEMMA, GEMMA]) {
    let spokenBefore = "";
    for (let end = 0; end <= whole.length; end += 1) {
      const parts = parted(whole.slice(0, end));
      for (const part of parts) assert.doesNotMatch(part.text, /<(unused|\|?channel)/, whole.slice(0, end));
      assert.ok(parts.filter(({ thought }) => thought).every((part) => "Is it there?".startsWith(part.text)), JSON.stringify(parts));
      const said = spoken(whole.slice(0, end));
      assert.ok(said.startsWith(spokenBefore));
      spokenBefore = said;
    }
  }
});

test("a sign that begins no mark is text", () => {
  for (const plain of ["a < b", "p <", "x <unus ed", "<br>"]) assert.equal(spoken(`${plain} end`), `${plain} end`);
  assert.equal(spoken("ends with <unused9"), "ends with ");
});

test("marks inside the report become dashes", () => {
  assert.equal(unmarked("<unused94>thought\nso<unused95>\nand so"), "so – and so");
  assert.equal(unmarked("plain"), "plain");
});

test("what stands between the marks, by code points", () => {
  const slice = (start, end) => Array.from(`🫁${MEDGEMMA}`).slice(start, end).join("");
  const end = Array.from(`🫁${MEDGEMMA}`).indexOf("L") - 1;
  assert.equal(slice(...withinMarks({ start: 1, end }, slice)), "Is it there?");
  const bare = "<unused94>thought\n";
  assert.deepEqual(withinMarks({ start: 0, end: bare.length }, (from, to) => bare.slice(from, to)), [bare.length, bare.length]);
});

test("what of a range is no thought", () => {
  const thinking = [{ start: 2, end: 4 }, { start: 6, end: 9 }];
  assert.deepEqual(outside(thinking, 0, 12), [[0, 2], [4, 6], [9, 12]]);
  assert.deepEqual(outside(thinking, 3, 7), [[4, 6]]);
  assert.deepEqual(outside(thinking, 2, 4), []);
  assert.deepEqual(outside([], 3, 3), []);
  assert.equal(isThought({ thinking }, { start: 3, end: 5 }), true);
  assert.equal(isThought({ thinking }, { start: 4, end: 6 }), false);
});

test("thoughts are folded under a count of their words, or there is nothing", () => {
  const report = { text: "<unused94>thought\nIs it?<unused95> Clear.", thinking: [{ start: 0, end: 34 }],
    words: [{ start: 18, end: 20 }, { start: 21, end: 23 }, { start: 35, end: 40 }] };
  const run = (start, end) => [text(report.text.slice(start, end))];
  const [fold] = folded(report, run);
  assert.equal(fold.textContent, "What the model thought before it answered, 2 wordsIs it?");
  assert.deepEqual(folded({ ...report, words: report.words.slice(2) }, run), []);
});

test("a report that was cut off says whether there is one", () => {
  const report = (text, ...thinking) => ({ text, tokens: [{}, {}], thinking: thinking.map(([start, end]) => ({ start, end, token_indices: [] })) });
  assert.equal(cutOff(report("No nod")), "Cut off after 2 tokens.");
  assert.equal(cutOff(report("<unused94>thought 👍 a", [0, 20])), "Cut off after 2 tokens.");
  assert.match(cutOff(report("<unused94>thought 👍 a", [0, 21])), /tokens, before the report began/);
  assert.equal(cutOff(report("No.<unused94>b", [3, 14])), "Cut off after 2 tokens.");
});
