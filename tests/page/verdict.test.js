import assert from "node:assert/strict";
import test from "node:test";

import { likelihood, likelihoods } from "../../medinterp/view/static/verdict.js";

test("a loss of log-probability is told as times, a gain as well", () => {
  const told = [0, 0.09, -0.09, Math.log(35), -Math.log(2.5), Math.log(1e6), -Infinity].map(likelihood);
  assert.deepEqual(told, ["about as likely", "about as likely", "about as likely", "35 times less likely", "2.5 times more likely",
    "more than 1,000 times less likely", "more than 1,000 times more likely"]);
});

test("several films are told as a range", () => {
  assert.equal(likelihoods([Math.log(40), Math.log(1.5), 1]), "1.5 to 40 times less likely");
  assert.equal(likelihoods([-Math.log(40), -Math.log(1.5)]), "1.5 to 40 times more likely");
  assert.equal(likelihoods([0, 0.01]), "about as likely");
  assert.equal(likelihoods([-Math.log(2), Math.log(3)]), "from 2 times more likely to 3 times less likely");
  assert.equal(likelihoods([0, Math.log(3)]), "from about as likely to 3 times less likely");
});
