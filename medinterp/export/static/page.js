"use strict";
// Draws the selected map over the film as medinterp.render.overlay does. Text only ever becomes text.

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const film = byId("film");
const canvas = byId("map");
const { width, height } = canvas;
const context = canvas.getContext("2d", { willReadFrequently: true });
const words = Array.from(document.querySelectorAll("#report [data-selection]"));
const buttons = Array.from(document.querySelectorAll("[data-selection]"));
let selected = null; // a place in data.selections
let base = null; // the film's pixels, RGBA

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** Little-endian float32 in base64 to numbers. */
function floats(text) {
  const view = new DataView(bytes(text).buffer);
  return Float32Array.from({ length: view.byteLength / 4 }, (_, index) => view.getFloat32(4 * index, true));
}

for (const method of data.methods) {
  method.values = floats(method.values);
  method.colours = bytes(method.colours);
}

const method = () => data.methods[Number(byId("method").value)];

const stretched = () => byId("scale").value === "map";

/** Values of the selected map. */
function chosen() {
  const { rows, columns, values } = method();
  return values.subarray(selected * rows * columns, (selected + 1) * rows * columns);
}

/** The range of the colours: the report's, or this map's own maximum. */
function range() {
  const { low, high, signed } = method();
  if (!stretched() || selected === null) return [low, high];
  const top = chosen().reduce((most, value) => Math.max(most, signed ? Math.abs(value) : value), 0);
  return signed ? [-top, top] : [0, top];
}

/** A number for people: three significant digits. */
function compact(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 0.001 && size < 1000 ? String(Number(value.toPrecision(3))) : value.toExponential(1);
}

/** For each pixel along one side: the cells before and behind it, and the share of the latter. */
function places(pixels, cells) {
  return Array.from({ length: pixels }, (_, pixel) => {
    const at = Math.min(cells - 1, Math.max(0, ((pixel + 0.5) * cells) / pixels - 0.5));
    const first = Math.floor(at);
    return [first, Math.min(first + 1, cells - 1), at - first];
  });
}

/** The film with a map over it: bilinear between cell centres; opacity and colour follow the scaled value. */
function draw() {
  context.clearRect(0, 0, width, height);
  if (selected === null || base === null) return;
  const { rows, columns, signed, colours } = method();
  const [low, high] = range();
  const shares = Array.from(chosen(), (value) => {
    const share = high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 0;
    return signed ? 0.5 + 0.5 * Math.sign(2 * share - 1) * Math.sqrt(Math.abs(2 * share - 1)) : Math.sqrt(share);
  });
  const opacity = Number(byId("opacity").value);
  const across = places(width, columns);
  const picture = context.createImageData(width, height);
  const pixels = picture.data; // clamped bytes: assignment rounds
  places(height, rows).forEach(([above, below, down], y) => {
    for (let x = 0; x < width; x += 1) {
      const [left, right, along] = across[x];
      const top = shares[above * columns + left] * (1 - along) + shares[above * columns + right] * along;
      const foot = shares[below * columns + left] * (1 - along) + shares[below * columns + right] * along;
      const share = top * (1 - down) + foot * down;
      const alpha = opacity * (signed ? Math.abs(share - 0.5) * 2 : share);
      const colour = 3 * Math.round(share * 255);
      const at = 4 * (y * width + x);
      for (let channel = 0; channel < 3; channel += 1) {
        const gray = base[at + channel];
        pixels[at + channel] = gray + alpha * (colours[colour + channel] - gray);
      }
      pixels[at + 3] = 255;
    }
  });
  context.putImageData(picture, 0, 0);
}

/** Select a word or a finding, or nothing. */
function select(place) {
  selected = place;
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.selection) === place));
  }
  const { label, facts } = place === null ? { label: "", facts: "" } : data.selections[place];
  byId("subject").textContent = place === null ? "Select a word of the report." : `“${label}”  ${facts}`;
  canvas.setAttribute("aria-label", place === null ? "No word is selected" : `Film with the map of “${label}”`);
  byId("readout").textContent = "";
  describe();
  draw();
}

/** Colour key and method in words. */
function describe() {
  const { colours, meaning, citation, notes } = method();
  const [low, high] = range();
  byId("low").textContent = compact(low);
  byId("high").textContent = (!stretched() && method().exceeded ? "≥ " : "") + compact(high);
  byId("meaning").textContent = [meaning, citation, ...notes].filter(Boolean).join(" · ");
  byId("scale-note").classList.toggle("warning", stretched());
  byId("scale-note").textContent = stretched()
    ? "Stretched to this word alone: a faint map looks as strong as a clear one. Do not compare words."
    : "One colour range for the whole report: words can be compared.";
  byId("opacity-value").textContent = `${Math.round(byId("opacity").value * 100)} %`;
  const strip = byId("strip").getContext("2d");
  const line = strip.createImageData(256, 1);
  for (let place = 0; place < 256; place += 1) {
    line.data.set([...colours.subarray(3 * place, 3 * place + 3), 255], 4 * place);
  }
  strip.putImageData(line, 0, 0);
}

/** Words that are not folded away. */
const shown = () => words.filter((word) => word.closest("details:not([open])") === null);

/** One word is in the tab order; arrow keys go on from there. */
function focusWord(one) {
  for (const word of words) word.tabIndex = -1;
  if (one) one.tabIndex = 0;
}

for (const word of words) {
  word.addEventListener("focus", () => focusWord(word));
  word.addEventListener("keydown", (event) => {
    const reached = shown();
    const index = reached.indexOf(word);
    const last = reached.length - 1;
    const target = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: last }[event.key];
    if (target === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    reached[Math.min(last, Math.max(0, target))].focus();
    event.preventDefault();
  });
}
focusWord(shown()[0]);
for (const details of document.querySelectorAll("#report details")) {
  details.addEventListener("toggle", () => {
    const reached = shown();
    if (!reached.some((word) => word.tabIndex === 0)) focusWord(reached[0]);
  });
}
for (const button of buttons) {
  const place = Number(button.dataset.selection);
  button.addEventListener("click", () => select(selected === place ? null : place));
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape") select(null); });
for (const name of ["opacity", "method", "scale"]) {
  byId(name).addEventListener("input", () => { describe(); draw(); });
}
byId("picture").addEventListener("pointermove", (event) => {
  if (selected === null) return;
  const box = canvas.getBoundingClientRect();
  const { rows, columns } = method();
  const inside = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
  const row = inside((event.clientY - box.top) / box.height, rows);
  const column = inside((event.clientX - box.left) / box.width, columns);
  const value = chosen()[row * columns + column];
  byId("readout").textContent = `row ${row + 1}, column ${column + 1}: ${compact(value)}`;
});

describe();
film.decode().then(() => {
  context.drawImage(film, 0, 0, width, height);
  base = context.getImageData(0, 0, width, height).data;
  draw();
});
