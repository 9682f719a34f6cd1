// What is to be read: a film chosen by click, drop or paste, or one of the synthetic examples.

/** @import { ChosenFilm, ExampleFilm } from "./types" */

import { byId, closest, make } from "./dom.js";
import { isText } from "./given.js";

/** @param {number} bytes */
function readableSize(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/**
 * Text that is dragged into a field, which knows what to do with it.
 * @param {DragEvent} event
 */
function intoField(event) {
  return !event.dataTransfer?.types.includes("Files") && closest(event, "textarea, input") !== null;
}

/**
 * Whether an event happened in a node.
 * @param {Node} node
 * @param {Event} event
 */
function isIn(node, { target }) {
  return target instanceof Node && node.contains(target);
}

export class Source {
  /**
   * @param {(film: ChosenFilm) => boolean} onChoose a film was chosen; true if it is taken
   * @param {(file: File) => void} onText it is a report instead
   * @param {(error: unknown) => void} onProblem an example cannot be had
   */
  constructor(onChoose, onText, onProblem) {
    this.onChoose = onChoose;
    this.onText = onText;
    this.onProblem = onProblem;
    this.input = byId("file");
    this.input.addEventListener("change", () => {
      const file = this.input.files?.[0];
      if (file) this.take(file);
      this.input.value = ""; // the same file can be chosen again
    });
    /** @type {File | null} */
    this.prior = null; // an earlier film
    byId("prior").addEventListener("change", () => this.takePrior(byId("prior").files?.[0] ?? null));
    byId("prior-clear").addEventListener("click", () => {
      this.takePrior(null);
      byId("prior").focus();
    });
    const [drop, box] = [byId("drop"), byId("given")];
    const light = (/** @type {HTMLElement | null} */ over) => {
      for (const node of [drop, box]) node.classList.toggle("mi-over", node === over);
    };
    // Anywhere on the page: a film dropped beside the field must not navigate away.
    document.addEventListener("dragover", (event) => {
      if (intoField(event)) return;
      event.preventDefault();
      const text = event.dataTransfer?.items[0]?.type === "text/plain" || isIn(box, event);
      light(text ? box : drop);
    });
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) light(null);
    });
    document.addEventListener("drop", (event) => {
      light(null);
      if (intoField(event)) return;
      event.preventDefault();
      const file = event.dataTransfer?.files[0];
      if (file) this.took(file, isIn(box, event));
    });
    document.addEventListener("paste", (event) => {
      const file = event.clipboardData?.files[0];
      // A word processor puts a picture of its text beside the text.
      if (!file || (event.clipboardData?.types.includes("text/plain") && closest(event, "textarea"))) return;
      event.preventDefault();
      this.took(file, false);
    });
  }

  /**
   * A file that was dropped or pasted: into the box for a report, or where it is text, or else a film.
   * @param {File} file
   * @param {boolean} intoBox
   */
  took(file, intoBox) {
    if (intoBox || isText(file)) this.onText(file);
    else this.take(file);
  }

  /** @param {File} file */
  take(file) {
    const title = `${file.name} (${readableSize(file.size)})`;
    if (this.onChoose({ blob: file, name: file.name })) this.chosen(title, null);
  }

  /**
   * An earlier film of the same patient, or none.
   * @param {File | null} file
   */
  takePrior(file) {
    this.prior = file;
    byId("prior").value = "";
    byId("prior-name").textContent = file === null ? "" : `${file.name} (${readableSize(file.size)})`;
    byId("prior-label").textContent = file === null ? "Add a prior film" : "Prior film:";
    byId("prior-clear").hidden = file === null;
  }

  /**
   * @param {string} title
   * @param {HTMLElement | null} example
   */
  chosen(title, example) {
    byId("chosen").textContent = title;
    for (const button of byId("examples").children) {
      button.setAttribute("aria-pressed", String(button === example));
    }
  }

  /**
   * Show the example films: [{ name, caption, url, thumbnail }].
   * @param {ExampleFilm[]} examples
   */
  showExamples(examples) {
    const caption = byId("example-caption");
    const buttons = examples.map((film, index) => {
      const button = make("button", {
        type: "button",
        class: "mi-example",
        id: `medinterp-example-${index}`,
        "aria-pressed": "false",
        "aria-label": `Example ${index + 1}: ${film.caption}`,
      }, make("img", { src: film.thumbnail, alt: "", draggable: "false" }));
      const explain = () => { caption.textContent = film.caption; };
      button.addEventListener("mouseenter", explain);
      button.addEventListener("focus", explain);
      button.addEventListener("click", () => this.takeExample(film, button));
      return button;
    });
    byId("examples").replaceChildren(...buttons);
  }

  /**
   * @param {ExampleFilm} film
   * @param {HTMLElement} button
   */
  async takeExample(film, button) {
    try {
      const response = await fetch(film.url);
      if (!response.ok) throw new Error(`The server answered ${response.status}.`);
      const blob = await response.blob();
      if (!this.onChoose({ blob, name: `${film.name}.png` })) return;
      this.chosen("Choose a film", button);
      byId("example-caption").textContent = film.caption;
    } catch (error) {
      this.onProblem(error);
    }
  }
}
