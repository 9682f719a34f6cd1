// Small helpers. Text from the model or the server only ever becomes text nodes, never markup.

/** @import { Attributes, Child, Named, Slicer } from "./types" */

/**
 * The page's own element: byId("read") is #medinterp-read. Throws where the page has none.
 * @template {string} Name
 * @param {Name} name
 */
export function byId(name) {
  const node = document.getElementById(`medinterp-${name}`);
  if (node === null) throw new Error(`The page has no element #medinterp-${name}.`);
  return /** @type {Named<Name>} */ (node);
}

/**
 * Make an element: make("p", { class: "note", hidden: true }, "text", child).
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} attributes
 * @param {Child[]} children
 */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/**
 * The same for a drawing: makeSvg("line", { x1: 0 }).
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number>} attributes
 * @param {(Node | string)[]} children
 */
export function makeSvg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

/**
 * The nearest element of a kind that an event happened in, or null.
 * @param {Event} event
 * @param {string} selector
 */
export function closest({ target }, selector) {
  return target instanceof Element ? /** @type {HTMLElement | null} */ (target.closest(selector)) : null;
}

/**
 * Whether a key is not one of the page's: it belongs to a field or to the browser, or single keys are switched off.
 * @param {KeyboardEvent} event
 */
export function typing(event) {
  return event.ctrlKey || event.metaKey || event.altKey || document.getElementById("medinterp")?.dataset.keys === "off"
    || closest(event, "textarea, input:not([type=range], [type=checkbox], [type=radio]), select, dialog") !== null;
}

/**
 * A slicer of `text` by code points, which is how the API counts characters (JavaScript counts UTF-16).
 * @param {string} text
 * @returns {Slicer}
 */
export function slicer(text) {
  const points = Array.from(text);
  return (start, end) => points.slice(start, end).join("");
}

/**
 * A number of a map for people: three significant digits, never an exponent that nobody reads.
 * @param {number} value
 */
export function compact(value) {
  if (value === 0) return "0";
  return Math.abs(value) >= 0.001 && Math.abs(value) < 1000 ? String(Number(value.toPrecision(3)))
    : value.toExponential(1);
}

/**
 * 0.0734 -> "7.3 %"; whole percents from ten up; tiny values stay visible.
 * @param {number} fraction
 */
export function percent(fraction) {
  const value = fraction * 100;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value.toFixed(value < 10 ? 1 : 0)} %`;
}

/**
 * A number with so many decimals and a true minus sign; what rounds to 0 has none.
 * @param {number} value
 * @param {number} decimals
 */
export function fixed(value, decimals) {
  const text = Math.abs(value).toFixed(decimals);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

/**
 * "−3.55": a change of log p in nats, with its sign.
 * @param {number} change
 */
export function nats(change) {
  const text = fixed(change, 2);
  return change > 0 && text !== "0.00" ? `+${text}` : text;
}

/**
 * A registry's name in words: five_pixels -> "Five pixels".
 * @param {string} name
 */
export function words(name) {
  return name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");
}

/**
 * Say of a button whether it is pressed; one that says so already is left alone, for a browser styles it anew.
 * @param {Element} node
 * @param {boolean} pressed
 */
export function press(node, pressed) {
  if (node.getAttribute("aria-pressed") !== String(pressed)) node.setAttribute("aria-pressed", String(pressed));
}

/**
 * What draws on a canvas. Throws where the browser has no memory for it.
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasRenderingContext2DSettings} settings
 */
export function contextOf(canvas, settings = {}) {
  const context = canvas.getContext("2d", settings);
  if (context === null) throw new Error("The browser cannot draw here: it gives no canvas.");
  return context;
}
