// What dragging on the film does: move it, zoom, window it, choose a region, measure. The right button windows it whatever is chosen.

/** @import { GrayWindow } from "./types" */
/** @import { Region } from "./region.js" */
/** @import { Ruler } from "./ruler.js" */
/** @import { Viewer } from "./viewer.js" */

import { byId, closest, make, typing } from "./dom.js";
import { graysOf, quantiles } from "./grays.js";

const TOOLS = { move: "v", zoom: "z", window: "w", region: "r", paint: "p", length: "l" }; // and their keys
const FULL = { level: 0.5, width: 1, inverted: false };
const NARROWEST = 0.005;
const ZOOM_PIXELS = 200; // that a drag is long for e times as near
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
   * @param {{ region: Region, ruler: Ruler }} takers of what is dragged with their tools
   * @param {() => void} onWindow the film is windowed
   */
  constructor(viewer, { region, ruler }, onWindow) {
    this.viewer = viewer;
    this.region = region;
    this.ruler = ruler;
    this.onWindow = onWindow;
    /** @type {GrayWindow} */
    this.window = FULL;
    this.tool = "move";
    this.plain = true; // the film is shown as it was read
    for (const name of Object.keys(TOOLS)) byId(`tool-${name}`).addEventListener("click", () => this.use(name));
    this.group = Object.keys(TOOLS).map((name) => byId(`tool-${name}`));
    byId("tools").addEventListener("keydown", (event) => this.walk(event));
    document.addEventListener("keydown", (event) => {
      if (typing(event)) return;
      if (event.key === "i") this.setWindow({ ...this.window, inverted: !this.window.inverted });
      else if (PRESETS[Number(event.key) - 1]) this.usePreset(Number(event.key) - 1);
      const named = Object.entries(TOOLS).find(([, key]) => key === event.key);
      if (named) this.use(named[0]);
    });
    viewer.stage.addEventListener("keydown", (event) => {
      if (event.key !== " " || event.target !== viewer.stage || event.defaultPrevented) return;
      event.preventDefault();
      this.reset();
    });
    const { stage } = viewer;
    stage.addEventListener("pointerdown", (event) => this.grab(event));
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("dblclick", (event) => this.doubled(event));
    // Of one slider: the other has rounded what it stands for.
    byId("level").addEventListener("input", () => this.setWindow({ ...this.window, level: Number(byId("level").value) / 100 }));
    byId("width").addEventListener("input", () => this.setWindow({ ...this.window, width: Number(byId("width").value) / 100 }));
    byId("invert").addEventListener("change", () => this.setWindow({ ...this.window, inverted: byId("invert").checked }));
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
    this.ruler.use(tool === "length");
  }

  /** The whole film, as it was read. */
  reset() {
    this.viewer.zoom.fit();
    this.setWindow(FULL);
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
    byId("level").value = String(100 * this.window.level);
    byId("width").value = String(100 * width);
    byId("invert").checked = this.window.inverted;
    const plain = this.window.level === FULL.level && width === FULL.width && !this.window.inverted;
    this.plain = plain;
    byId("preset").selectedIndex = plain ? 0 : preset;
    this.say();
    if (!plain) this.onWindow();
  }

  /** What the window is, and of how many grays. */
  say() {
    const { level, width, inverted } = this.window;
    const share = (/** @type {number} */ part) => `${(100 * part).toFixed(width < 0.1 ? 1 : 0)} %`;
    const { picture } = this.viewer.view;
    const grays = !this.plain && picture !== null && graysOf(picture).bits === 16 ? " of 65,536 grays" : "";
    byId("window-facts").textContent = this.plain ? ""
      : `Level ${share(level)}, width ${share(width)}${grays}${inverted ? ", inverted" : ""}`;
  }

  /** @param {number} preset */
  usePreset(preset) {
    const { from, to } = PRESETS[preset];
    const { view } = this.viewer;
    if (from === null || to === null || view.picture === null) {
      this.setWindow(FULL);
      return;
    }
    const [low, high] = quantiles(graysOf(view.picture), [from, to]);
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
    const start = this.viewer.view.at(event);
    if (tool === "region" || tool === "paint") this.region.begin(start, event.shiftKey);
    if (tool === "length") this.ruler.begin(start);
    const began = this.window;
    const { clientX: fromX, clientY: fromY } = event;
    let { clientX, clientY } = event;
    const follow = (/** @type {PointerEvent} */ next) => {
      if (tool === "move") this.viewer.move(next.clientX - clientX, next.clientY - clientY);
      else if (tool === "window") {
        // Across changes contrast, up brightens, as on a reading station.
        this.setWindow({ ...began, width: began.width + (next.clientX - fromX) / 300, level: began.level + (next.clientY - fromY) / 400 });
      } else if (tool === "zoom") this.viewer.nearer(Math.exp((clientY - next.clientY) / ZOOM_PIXELS), start);
      else (tool === "length" ? this.ruler : this.region).drag(this.viewer.view.at(next));
      ({ clientX, clientY } = next);
    };
    const ended = new AbortController();
    const release = () => {
      ended.abort();
      if (tool === "region" || tool === "paint") this.region.end();
      if (tool === "length") this.ruler.end();
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
