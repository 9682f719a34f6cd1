// "Heads": how much of each layer's and head's attention was on the film for the selection; one of them on the film.

/** @import { Explanation, GuestMap, HeadMaps, Selection } from "./types" */
/** @import { Api } from "./api.js" */

import { Asked } from "./asked.js";
import { byId, make, percent } from "./dom.js";
import { numbers } from "./packs.js";

/** @type {Record<string, [number, number]>} */
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

export class Heads {
  /**
   * @param {Pick<Api, "heads">} api
   * @param {{ onMap: (map: GuestMap | null) => void, onProblem: (error: unknown) => void }} does onMap: one head's map is
   *   to be drawn in the method's place, or the method's again
   */
  constructor(api, { onMap, onProblem }) {
    this.onMap = onMap;
    /** @type {[number, number] | null} */
    this.chosen = null; // layer and head
    /** @type {HTMLButtonElement[]} */
    this.cells = [];
    this.maps = new Float32Array(0);
    /** @type {(HeadMaps & { layers: number, heads: number }) | null} */
    this.answer = null;
    /** @type {Asked<HeadMaps>} */
    this.asked = new Asked(byId("heads"), {
      name: "heads", title: "Layers and heads", button: "Ask the model", unit: "steps",
      hint: "One more pass over the same report: what each head of each layer looked at for the selection.",
    }, {
      ask: (id, body, options) => api.heads(id, body, options),
      show: (answer) => this.nodes(answer),
      onShow: () => this.choose(null),
      onProblem,
    });
    byId("heads").addEventListener("keydown", (event) => this.keyed(event));
  }

  /**
   * @param {Explanation | null} explanation
   * @param {Selection | null} selection
   * @param {number} image
   */
  open(explanation, selection, image) {
    this.asked.open(explanation && selection ? { explanation, selection, extra: image ? { image } : {} } : null);
  }

  /** The drawer's view is left: the method's map is drawn again. */
  leave() {
    this.choose(null);
  }

  /** @param {HeadMaps} answer */
  nodes(answer) {
    const [layers, heads] = answer.mass.shape;
    const mass = numbers(answer.mass);
    this.maps = numbers(answer.maps).map((value) => value * answer.scale);
    const top = Math.max(1e-9, ...mass);
    this.answer = { ...answer, layers, heads };
    this.cells = [];
    const cell = (/** @type {number} */ layer, /** @type {number} */ head) => {
      const share = mass[layer * heads + head];
      const button = make("button", {
        type: "button", class: "mi-head", tabindex: "-1", "aria-pressed": "false", "data-head": `${layer},${head}`,
        "aria-label": `Layer ${layer}, head ${head}: ${percent(share)} on the film`, title: `Layer ${layer}, head ${head}: ${percent(share)} on the film`,
      });
      button.style.setProperty("--mi-share", Math.sqrt(share / top).toFixed(3));
      button.addEventListener("click", () => this.choose(this.chosen?.[0] === layer && this.chosen[1] === head ? null : [layer, head]));
      this.cells.push(button);
      return make("td", {}, button);
    };
    const kind = (/** @type {number} */ layer) => (answer.layer_types[layer] === "full_attention" ? "global" : "sliding");
    const rows = Array.from({ length: layers }, (_, layer) => make("tr", { class: `mi-layer-${kind(layer)}` },
      make("th", { scope: "row" }, `${layer}`, make("span", { class: "mi-quiet" }, ` ${kind(layer)}`)),
      ...Array.from({ length: heads }, (_x, head) => cell(layer, head))));
    this.cells[0].tabIndex = 0;
    const kinds = new Set(Array.from({ length: layers }, (_, layer) => kind(layer)));
    return [
      make("p", { class: "mi-quiet" }, `Share of each head's attention that was on the film, up to ${percent(top)}. `
        + (kinds.size > 1 ? `Sliding layers see ${answer.sliding_window} positions back, global ones all. ` : "")
        + "Choose one to see where it looked."),
      make("table", { class: "mi-heads", id: "medinterp-heads-grid" },
        make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Layer"),
          ...Array.from({ length: heads }, (_, head) => make("th", { scope: "col" }, `${head}`)))),
        make("tbody", {}, ...rows)),
      make("p", { class: "mi-quiet", id: "medinterp-head-note" }),
    ];
  }

  /** @param {[number, number] | null} chosen */
  choose(chosen) {
    const had = this.chosen !== null;
    this.chosen = chosen;
    for (const button of this.cells) button.setAttribute("aria-pressed", String(button.dataset.head === String(chosen)));
    if (chosen === null || this.answer === null) {
      if (had) this.onMap(null);
      return;
    }
    const [layer, head] = chosen;
    const { rows, columns, heads } = this.answer;
    const size = rows * columns;
    const from = (layer * heads + head) * size;
    this.onMap({ values: this.maps.slice(from, from + size), rows, columns, signed: false, range: this.answer.range,
      title: `Attention of layer ${layer}, head ${head}` });
    byId("head-note").textContent = "Drawn on the film until another word or method is chosen; one colour range for all heads.";
  }

  /** @param {KeyboardEvent} event */
  keyed(event) {
    const at = this.cells.findIndex((cell) => cell === event.target);
    const step = STEPS[event.key];
    if (at < 0 || !step || this.answer === null) return;
    const { layers, heads } = this.answer;
    const [layer, head] = [Math.floor(at / heads) + step[0], (at % heads) + step[1]];
    event.preventDefault();
    if (layer < 0 || layer >= layers || head < 0 || head >= heads) return;
    for (const cell of this.cells) cell.tabIndex = -1;
    const next = this.cells[layer * heads + head];
    next.tabIndex = 0;
    next.focus();
  }
}
