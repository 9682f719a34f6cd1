// What is to be read: a film chosen by click, drop or paste, or one of the synthetic examples.

import { byId, make } from "./dom.js";
import { isText } from "./given.js";

function readableSize(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Text that is dragged into a field, which knows what to do with it. */
function intoField({ dataTransfer, target }) {
  return !dataTransfer.types.includes("Files") && target.closest?.("textarea, input");
}

export class Source {
  /**
   * onChoose({ blob, name }) when a film was chosen, true if it is taken; onText(file) when it is a report instead;
   * onProblem(error) when an example cannot be had.
   */
  constructor(onChoose, onText, onProblem) {
    this.onChoose = onChoose;
    this.onText = onText;
    this.onProblem = onProblem;
    this.input = byId("file");
    this.input.addEventListener("change", () => {
      if (this.input.files.length) this.take(this.input.files[0]);
      this.input.value = ""; // the same file can be chosen again
    });
    this.prior = null; // the file of an earlier film
    byId("prior").addEventListener("change", () => this.takePrior(byId("prior").files[0] ?? null));
    byId("prior-clear").addEventListener("click", () => {
      this.takePrior(null);
      byId("prior").focus();
    });
    const [drop, box] = [byId("drop"), byId("given")];
    const light = (over) => {
      for (const node of [drop, box]) node.classList.toggle("mi-over", node === over);
    };
    // Anywhere on the page: a film dropped beside the field must not navigate away.
    document.addEventListener("dragover", (event) => {
      if (intoField(event)) return;
      event.preventDefault();
      const text = event.dataTransfer.items[0]?.type === "text/plain" || box.contains(event.target);
      light(text ? box : drop);
    });
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) light(null);
    });
    document.addEventListener("drop", (event) => {
      light(null);
      if (intoField(event)) return;
      event.preventDefault();
      const [file] = event.dataTransfer.files;
      if (file) this.took(file, box.contains(event.target));
    });
    document.addEventListener("paste", (event) => {
      const file = event.clipboardData?.files[0];
      // A word processor puts a picture of its text beside the text.
      if (!file || (event.clipboardData.types.includes("text/plain") && event.target.closest?.("textarea"))) return;
      event.preventDefault();
      this.took(file, false);
    });
  }

  /** A file that was dropped or pasted: into the box for a report, or where it is text, or else a film. */
  took(file, intoBox) {
    if (intoBox || isText(file)) this.onText(file);
    else this.take(file);
  }

  take(file) {
    const title = `${file.name} (${readableSize(file.size)})`;
    if (this.onChoose({ blob: file, name: file.name })) this.chosen(title, null);
  }

  /** An earlier film of the same patient, or none. */
  takePrior(file) {
    this.prior = file;
    byId("prior").value = "";
    byId("prior-name").textContent = file === null ? "" : `${file.name} (${readableSize(file.size)})`;
    byId("prior-label").textContent = file === null ? "Add a prior film" : "Prior film:";
    byId("prior-clear").hidden = file === null;
  }

  chosen(title, example) {
    byId("chosen").textContent = title;
    for (const button of byId("examples").children) {
      button.setAttribute("aria-pressed", String(button === example));
    }
  }

  /** Show the example films: [{ name, caption, url, thumbnail }]. */
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
