import assert from "node:assert/strict";
import test from "node:test";

import { askedOf } from "../../medinterp/view/static/prompting.js";

test("of what was asked, the last question's words and the indication", () => {
  assert.deepEqual(askedOf({ prompt: "Read it." }), { words: "Read it.", indication: "" });
  assert.deepEqual(askedOf({ prompt: "Read it.\n\nIndication: cough,\nfever" }), { words: "Read it.", indication: "cough,\nfever" });
  const turns = [{ role: "user", parts: [0, "First?"] }, { role: "assistant", parts: ["No."] }, { role: "user", parts: ["A", 1, "B"] }];
  assert.deepEqual(askedOf({ prompt: "all", conversation: { system: "S", turns } }), { words: "A\n\nB", indication: "" });
  const one = [{ role: "user", parts: [0, "Read it.\n\nIndication: cough"] }];
  assert.deepEqual(askedOf({ prompt: "all", conversation: { system: "S", turns: one } }), { words: "Read it.", indication: "cough" });
});
