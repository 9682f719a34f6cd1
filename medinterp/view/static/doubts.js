// What is doubtful about the film that was read, in words: above the report in full, on the viewer in one line.

/** @import { FilmWarning } from "./types" */

import { byId, make, makeSvg } from "./dom.js";

// Not told by colour alone: a triangle for a doubt, an octagon for what makes a report meaningless.
const SIGNS = { doubt: "M12 3L22.5 21H1.5z", withholds: "M8 2h8l6 6v8l-6 6H8l-6-6V8z" };

/** @param {keyof typeof SIGNS} kind */
function sign(kind) {
  return makeSvg("svg", { class: "mi-sign", viewBox: "0 0 24 24", "aria-hidden": "true" },
    makeSvg("path", { d: SIGNS[kind] }), makeSvg("path", { class: "mi-sign-mark", d: "M12 9v5M12 17.5v.5" }));
}

/**
 * Warnings, those that make a report meaningless first.
 * @param {FilmWarning[]} warnings
 */
function ordered(warnings) {
  return [...warnings].sort((one, other) => Number(other.withholds) - Number(one.withholds));
}

/**
 * @param {FilmWarning[]} warnings
 * @param {boolean} given
 */
function title(warnings, given) {
  if (warnings.some((warning) => warning.withholds)) {
    return given ? "Explained all the same: what the model makes of this film means nothing"
      : "Read all the same: a report on this film means nothing";
  }
  return warnings.length === 1 ? "Warning about this film" : `${warnings.length} warnings about this film`;
}

/**
 * Show the warnings of a film, none to take them away. given: its report was.
 * @param {FilmWarning[]} warnings
 * @param {boolean} given
 */
export function showWarnings(warnings, given = false) {
  const told = ordered(warnings);
  const kind = told[0]?.withholds ? "withholds" : "doubt";
  const [list, line] = [byId("warnings"), byId("film-warning")];
  list.hidden = line.hidden = told.length === 0;
  list.dataset.kind = line.dataset.kind = kind;
  list.replaceChildren();
  line.replaceChildren();
  if (!told.length) return;
  list.append(sign(kind), make("div", {},
    make("p", { class: "mi-doubts-title" }, title(told, given)),
    make("ul", {}, ...told.map((warning) =>
      make("li", { "data-code": warning.code, class: warning.withholds ? "mi-withholds" : false }, warning.text)))));
  line.append(sign(kind), make("span", { class: "mi-doubt-text", title: told.map((warning) => warning.text).join("\n") },
    told[0].text));
  if (told.length > 1) line.append(make("span", { class: "mi-doubt-more" }, `and ${told.length - 1} more`));
}
