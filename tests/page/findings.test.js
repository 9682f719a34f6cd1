import assert from "node:assert/strict";
import test from "node:test";

import { entries, findingTitle, markWords, statementOf, statements } from "../../medinterp/view/static/findings.js";
import "./stub.js";
import { compared, values } from "./values.js";

const TEXT = "LUNGS 🫁: The lungs are clear. Perhaps a nodule. IMPRESSION: No opacity. A nodule may be there.";

/** A finding whose words are `told` of TEXT. */
function finding(index, name, told, fields = {}) {
  const start = Array.from(TEXT.slice(0, TEXT.indexOf(told))).length;
  return { index, name, status: "present", side: null, zones: [], start, end: start + Array.from(told).length, word_indices: [index],
    section: "LUNGS", hedge: null, change: null, ...fields };
}

const titles = (findings) => entries({ text: TEXT, findings }).map(({ title, told }) => [title, told.length]);

test("a finding's title says status, place and change", () => {
  const plain = { name: "nodule", status: "present", side: null, zones: [], change: null };
  assert.equal(findingTitle(plain), "nodule");
  assert.equal(findingTitle({ ...plain, side: "left", zones: ["upper", "mid"] }), "nodule, left upper and mid");
  assert.equal(findingTitle({ ...plain, status: "uncertain", side: "right" }), "nodule?, right");
  assert.equal(findingTitle({ ...plain, status: "absent" }), "no nodule");
  assert.equal(findingTitle({ ...plain, zones: ["basal"], change: "larger" }), "nodule, basal (larger)");
});

test("what one normal statement denies is one statement, told in its own words", () => {
  const absent = { status: "absent" };
  const findings = [finding(0, "nodule", "lungs are clear", absent), finding(1, "opacity", "lungs are clear", absent)];
  const [one, ...rest] = statements({ text: TEXT, findings });
  assert.deepEqual(rest, []);
  assert.equal(one.title, "lungs are clear: no nodule, no opacity");
  assert.equal(one.subject, "lungs are clear");
  const sided = findings.map((each) => ({ ...each, side: "left" }));
  assert.equal(statements({ text: TEXT, findings: sided })[0].subject, "lungs are clear, left");
});

test("present ones come first, then uncertain, then absent ones; their order else is the text's", () => {
  const findings = [finding(0, "a", "lungs", { status: "absent" }), finding(1, "b", "nodule", { status: "uncertain" }), finding(2, "c", "opacity"), finding(3, "d", "A nodule")];
  assert.deepEqual(statements({ text: TEXT, findings }).map(({ title }) => title), ["c", "d", "b?", "no a"]);
});

test("a hedge is quoted by code points", () => {
  const hedge = (told) => { const { start, end } = finding(0, "", told); return [start, end]; };
  const [one] = statements({ text: TEXT, findings: [finding(0, "nodule", "nodule", { status: "uncertain", hedge: hedge("may be") })] });
  assert.equal(one.hedge, "hedged: may be");
  assert.equal(statements({ text: TEXT, findings: [finding(0, "nodule", "nodule", { status: "uncertain" })] })[0].hedge, "hedged");
  assert.equal(statements({ text: TEXT, findings: [finding(0, "nodule", "nodule", { hedge: hedge("may be") })] })[0].hedge, "");
});

test("a finding and its echo in the impression are one entry, under the fuller title", () => {
  const body = finding(0, "nodule", "nodule", { side: "left", zones: ["upper"] });
  const echo = (fields) => finding(1, "nodule", "A nodule", { section: "IMPRESSION", ...fields });
  assert.deepEqual(titles([body, echo({})]), [["nodule, left upper", 2]]);
  assert.deepEqual(titles([body, echo({ side: "left", zones: ["upper", "mid"] })]), [["nodule, left upper and mid", 2]]);
  assert.deepEqual(titles([body, echo({ side: "right" })]).length, 2);
  assert.deepEqual(titles([body, echo({ zones: ["lower"] })]).length, 2);
  assert.deepEqual(titles([body, echo({ status: "uncertain" })]).length, 2);
  assert.deepEqual(titles([body, echo({ section: "LUNGS" })]).length, 2);
  assert.deepEqual(titles([{ ...body, change: "larger" }, echo({ change: "smaller" })]).length, 2);
  assert.deepEqual(titles([{ ...body, change: "larger" }, echo({})]), [["nodule, left upper (larger)", 2]]);
  assert.deepEqual(titles([body, { ...echo({}), name: "mass" }]).length, 2);
});

test("three that do not all agree are no one entry", () => {
  const sides = [["left", "LUNGS"], [null, "IMPRESSION"], ["right", "ADVICE"]];
  const findings = sides.map(([side, section], index) => finding(index, "effusion", "nodule", { side, section }));
  assert.deepEqual(titles(findings), [["effusion, left", 2], ["effusion, right", 1]]);
});

test("every finding belongs to one statement, and an unknown one to none", () => {
  const findings = [finding(0, "a", "lungs", { status: "absent" }), finding(1, "b", "lungs", { status: "absent" }), finding(2, "c", "nodule")];
  assert.deepEqual([0, 1, 2].map((index) => statementOf({ text: TEXT, findings }, index).findings.length), [2, 2, 1]);
  assert.throws(() => statementOf({ text: TEXT, findings }, 3), /no finding 3/);
});

test("words are marked by the first of their statuses, hedges apart", () => {
  const start = Array.from(TEXT.slice(0, TEXT.indexOf("may be"))).length;
  const words = [{ index: 0, start: start - 7, end: start - 1 }, { index: 1, start, end: start + 3 }];
  const nodes = words.map(() => document.createElement("span"));
  const findings = [finding(0, "nodule", "nodule", { status: "uncertain", hedge: [start, start + 6] }), finding(0, "mass", "nodule", { status: "absent", index: 1 })];
  markWords({ text: TEXT, findings, words }, nodes);
  assert.deepEqual([...nodes[0].classes], ["mi-finding", "mi-uncertain"]);
  assert.deepEqual([...nodes[1].classes], ["mi-hedge"]);
  assert.match(nodes[0].title, /^no mass\nnodule\?\nhedged: may be$/);
});

test("a report of every kind tells each of its findings once", compared, () => {
  const found = entries(values.report).map(({ title, status, told }) => [title, status, told.length]);
  assert.deepEqual(found, [
    ["pleural effusion, right (larger)", "present", 2],
    ["pneumonia?, left upper and mid", "uncertain", 1],
    ["cardiomegaly?", "uncertain", 1],
    ["right lung is clear: no consolidation, no nodule, no edema", "absent", 1],
    ["no pneumothorax", "absent", 1],
  ]);
  const all = statements(values.report).flatMap(({ findings }) => findings.map(({ index }) => index)).sort();
  assert.deepEqual(all, values.report.findings.map(({ index }) => index).sort());
});
