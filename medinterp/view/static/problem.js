// A problem, said beside the button: what went wrong, or why a report was withheld. Film, prompt and report stay.

import { Problem } from "./api.js";
import { byId, make } from "./dom.js";

const WITHHELD = "urn:medinterp:problem:film-withheld";

/** @param {unknown} error */
function nodes(error) {
  if (!(error instanceof Problem)) return [make("strong", {}, error instanceof Error ? error.message : String(error))];
  const flaws = error.flaws.map((flaw) => make("p", {}, `${flaw.where}: ${flaw.what}`));
  const retry = error.retryAfter ? make("p", {}, `Try again in ${error.retryAfter} s.`) : null;
  const detail = error.detail && error.detail !== error.title ? error.detail : null;
  return [make("strong", {}, error.title), detail ? make("p", {}, detail) : null, ...flaws, retry];
}

/**
 * Why no report was written, or none explained, and a button that asks for it.
 * @param {Problem} error
 * @param {() => void} onForce
 * @param {boolean} given
 */
function withheld(error, onForce, given) {
  const force = make("button", { type: "button", class: "mi-button mi-small", id: "medinterp-force" },
    given ? "Explain it all the same" : "Read it all the same");
  force.addEventListener("click", onForce);
  return [
    make("strong", {}, given ? "The report was not explained: what the model makes of this film means nothing."
      : "No report was written: it would mean nothing."),
    ...error.flaws.map((flaw) => make("p", { "data-code": flaw.where.replace(/^image\./, "") }, flaw.what)),
    force,
  ];
}

/**
 * Show a problem until it is dismissed. `onForce` has a film read whose report was withheld; given: one that was given.
 * @param {unknown} error
 * @param {(() => void) | null} onForce
 * @param {boolean} given
 */
export function showProblem(error, onForce = null, given = false) {
  const close = make("button", { type: "button", class: "mi-link" }, "Dismiss");
  close.addEventListener("click", clearProblem);
  const said = onForce !== null && error instanceof Problem && error.type === WITHHELD ? withheld(error, onForce, given) : nodes(error);
  byId("error").replaceChildren(...[...said, close].filter((node) => node !== null));
  byId("error").hidden = false;
  byId("error").scrollIntoView({ block: "nearest" });
}

export function clearProblem() {
  byId("error").hidden = true;
  byId("error").replaceChildren();
}
