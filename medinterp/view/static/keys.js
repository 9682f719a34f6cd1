// The keys of the page, in a dialog.

import { byId, make, typing } from "./dom.js";

/** @type {[string, [string, string][]][]} */
const KEYS = [
  ["On the report", [
    ["← → ↑ ↓", "from word to word; each is drawn as it is reached"],
    ["Shift + ← →", "from sentence to sentence"],
    ["] [", "a phrase: one word more, one less"],
    ["Shift + Enter", "a phrase up to this word"],
    ["Home, End", "first and last word"],
    ["/", "search; Enter goes on, Escape comes back"],
    ["Esc", "nothing selected"],
  ]],
  ["With the mouse", [
    ["Click, double click", "a word, its sentence"],
    ["Drag, or Shift + click", "a phrase"],
    ["Right button on the film", "window and level"],
    ["Wheel", "zoom"],
  ]],
  ["On the film", [
    ["+ − = x", "zoom in, out, fit, the film's own size"],
    ["Space", "the whole film, as it was read"],
    ["i", "invert"],
    ["1 2 3 4", "windows: unchanged, stretched, lungs, mediastinum"],
    ["← → ↑ ↓", "move; with Region or Paint: from cell to cell; with Length: the line's end, with Shift its beginning"],
    ["v z w r p l", "move, zoom, window/level, region, paint, length"],
    ["o", "map on or off"],
    ["m", "the film as the model saw it"],
    ["c", "a second view beside it"],
    ["d", "details of what is selected"],
    ["?", "this list"],
  ]],
];

/**
 * @param {HTMLElement} root carries data-keys="off" while keys of one letter do nothing (speech input types letters)
 * @param {string[]} idle keys that do nothing here
 */
export function startKeys(root, idle = []) {
  const dialog = byId("keys-list");
  const close = make("button", { type: "button", class: "mi-button mi-small" }, "Close");
  close.addEventListener("click", () => dialog.close());
  const letters = make("input", { type: "checkbox", id: "medinterp-letters" });
  letters.checked = true;
  letters.addEventListener("change", () => { root.dataset.keys = letters.checked ? "on" : "off"; });
  const choice = make("label", { class: "mi-check" }, letters, "Keys of one letter, / and ? are on");
  dialog.append(make("h2", {}, "Keys"), ...KEYS.map(([title, keys]) => make("section", {}, make("h3", {}, title),
    make("dl", {}, ...keys.filter(([key]) => !idle.includes(key)).flatMap(([key, what]) => [make("dt", {}, key), make("dd", {}, what)])))), choice, make("p", {}, close));
  byId("keys").addEventListener("click", () => dialog.showModal());
  document.addEventListener("keydown", (event) => {
    if (event.key === "?" && !typing(event)) dialog.showModal();
  });
}
