// What dragging on the film does: move it, window it, or choose a region. The right button windows it whatever is chosen.

/** @import { GrayWindow } from "./types" */
/** @import { Region } from "./region.js" */
/** @import { Viewer } from "./viewer.js" */

import { byId, closest, make, typing } from "./dom.js";
import { contextOf } from "./film.js";

const TOOLS = { move: "v", window: "w", region: "r", paint: "p" }; // and their keys
const FULL = { level: 0.5, width: 1, inverted: false };
const NARROWEST = 0.02;
/** @type {{ name: string, from: number | null, to: number | null }[]} */
const PRESETS = [
  // Shares of the film's own grays, darkest first, that are spread over the scale.
  { name: "Unchanged", from: null, to: null },
  { name: "Stretched (1 to 99 %)", from: 0.01, to: 0.99 },
  { name: "Lungs (dark half)", from: 0.01, to: 0.6 },
  { name: "Mediastinum and bones (bright half)", from: 0.4, to: 0.998 },
];

const BY_HAND = PRESETS.length; // the entry behind them, for what is none of them

export class Tools {
  /**
   * @param {Viewer} viewer
   * @param {Region} region takes what is dragged with its tools
   */
  constructor(viewer, region) {
    this.viewer = viewer;
    this.region = region;
    /** @type {GrayWindow} */
    this.window = FULL;
    this.tool = "move";
    for (const name of Object.keys(TOOLS)) byId(`tool-${name}`).addEventListener("click", () => this.use(name));
    this.group = Object.keys(TOOLS).map((name) => byId(`tool-${name}`));
    byId("tools").addEventListener("keydown", (event) => this.walk(event));
    document.addEventListener("keydown", (event) => {
      if (event.key === "i" && !typing(event)) this.setWindow({ ...this.window, inverted: !this.window.inverted });
      const named = Object.entries(TOOLS).find(([, key]) => key === event.key);
      if (named && !typing(event)) this.use(named[0]);
    });
    const { stage } = viewer;
    stage.addEventListener("pointerdown", (event) => this.grab(event));
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("dblclick", (event) => this.doubled(event));
    for (const field of [byId("level"), byId("width")]) field.addEventListener("input", () => this.fromSliders());
    byId("invert").addEventListener("change", () => this.fromSliders());
    byId("window-reset").addEventListener("click", () => this.setWindow(FULL));
    byId("preset").append(...PRESETS.map(({ name }, at) => make("option", { value: at }, name)),
      make("option", { value: BY_HAND, hidden: true }, "By hand"));
    byId("preset").addEventListener("change", () => this.usePreset(byId("preset").selectedIndex));
    this.use("move");
    this.setWindow(FULL);
  }

  /** @param {string} tool */
  use(tool) {
    this.tool = tool;
    for (const node of this.group) {
      const on = node.id === `medinterp-tool-${tool}`;
      node.setAttribute("aria-checked", String(on));
      node.tabIndex = on ? 0 : -1;
    }
    byId("window-panel").hidden = tool !== "window";
    this.viewer.stage.dataset.tool = tool;
    this.region.useTool(tool === "region" || tool === "paint" ? tool : null);
  }

  /**
   * Arrow keys change what is chosen of a group of radios.
   * @param {KeyboardEvent} event
   */
  walk(event) {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    const at = this.group.findIndex((radio) => radio === event.target);
    if (step === 0 || at < 0) return;
    const next = this.group[(at + step + this.group.length) % this.group.length];
    next.click();
    next.focus();
    event.preventDefault();
  }

  // Window and level

  /**
   * @param {GrayWindow} window in shares of the film's grays
   * @param {number} preset which one it is of
   */
  setWindow(window, preset = BY_HAND) {
    const width = Math.min(1, Math.max(NARROWEST, window.width));
    this.window = { level: Math.min(1, Math.max(0, window.level)), width, inverted: window.inverted };
    this.viewer.view.setWindow(this.window);
    byId("level").value = String(Math.round(100 * this.window.level));
    byId("width").value = String(Math.round(100 * width));
    byId("invert").checked = this.window.inverted;
    const plain = this.window.level === FULL.level && width === FULL.width && !this.window.inverted;
    byId("window-facts").textContent = plain ? ""
      : `Level ${Math.round(100 * this.window.level)} %, width ${Math.round(100 * width)} %${this.window.inverted ? ", inverted" : ""}`;
    byId("preset").selectedIndex = plain ? 0 : preset;
  }

  fromSliders() {
    this.setWindow({ level: Number(byId("level").value) / 100, width: Number(byId("width").value) / 100, inverted: byId("invert").checked });
  }

  /** @param {number} preset */
  usePreset(preset) {
    const { from, to } = PRESETS[preset];
    const { view } = this.viewer;
    if (from === null || to === null || view.picture === null) {
      this.setWindow(FULL);
      return;
    }
    const [low, high] = quantiles(view.picture, [from, to]);
    this.setWindow({ level: (low + high) / 2, width: high - low, inverted: this.window.inverted }, preset);
  }

  // Dragging

  /** @param {PointerEvent} event */
  grab(event) {
    const right = event.button === 2;
    if ((event.button !== 0 && !right) || closest(event, "button, select, label") || this.viewer.view.place === null) return;
    const tool = right ? "window" : this.tool;
    const { stage } = this.viewer;
    stage.setPointerCapture(event.pointerId);
    if (tool === "region" || tool === "paint") this.region.begin(this.viewer.view.at(event), event.shiftKey);
    const began = this.window;
    const { clientX: fromX, clientY: fromY } = event;
    let { clientX, clientY } = event;
    const follow = (/** @type {PointerEvent} */ next) => {
      if (tool === "move") this.viewer.move(next.clientX - clientX, next.clientY - clientY);
      else if (tool === "window") {
        // Across changes contrast, up brightens, as on a reading station.
        this.setWindow({ ...began, width: began.width + (next.clientX - fromX) / 300, level: began.level + (next.clientY - fromY) / 400 });
      } else this.region.drag(this.viewer.view.at(next));
      ({ clientX, clientY } = next);
    };
    const ended = new AbortController();
    const release = () => {
      ended.abort();
      if (tool === "region" || tool === "paint") this.region.end();
    };
    stage.addEventListener("pointermove", follow, { signal: ended.signal });
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, release, { signal: ended.signal });
  }

  /** @param {MouseEvent} event */
  doubled(event) {
    if (closest(event, "button") || this.viewer.view.place === null) return;
    if (this.tool === "window") {
      this.setWindow(FULL);
    } else if (this.tool === "move") {
      if (this.viewer.zoom.factor > 1) this.viewer.zoom.fit();
      else this.viewer.nearer(2.5, this.viewer.view.at(event));
    }
  }
}

/**
 * The grays (0..1) below which given shares of a film lie.
 * @param {ImageBitmap} picture
 * @param {number[]} shares
 */
function quantiles(picture, shares) {
  const [width, height] = [Math.min(256, picture.width), Math.min(256, picture.height)];
  const context = contextOf(Object.assign(document.createElement("canvas"), { width, height }));
  context.drawImage(picture, 0, 0, width, height);
  const grays = context.getImageData(0, 0, width, height).data.filter((_, at) => at % 4 === 0).sort();
  return shares.map((share) => grays[Math.min(grays.length - 1, Math.floor(share * grays.length))] / 255);
}
