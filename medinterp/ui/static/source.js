// What is to be read: a film chosen by click, drop or paste, or one of the synthetic examples.

import { byId, make } from "./dom.js";

function readableSize(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export class Source {
  /** onChoose({ blob, name }) when a film was chosen, true if it is taken; onProblem(error) when an example cannot be had. */
  constructor(onChoose, onProblem) {
    this.onChoose = onChoose;
    this.onProblem = onProblem;
    this.input = byId("file");
    this.input.addEventListener("change", () => {
      if (this.input.files.length) this.take(this.input.files[0]);
      this.input.value = ""; // the same file can be chosen again
    });
    const drop = byId("drop");
    // Anywhere on the page: a film dropped beside the field must not navigate away.
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      drop.classList.add("mi-over");
    });
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) drop.classList.remove("mi-over");
    });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("mi-over");
      if (event.dataTransfer.files.length) this.take(event.dataTransfer.files[0]);
    });
    document.addEventListener("paste", (event) => {
      const file = event.clipboardData?.files[0];
      if (!file) return;
      event.preventDefault();
      this.take(file);
    });
  }

  take(file) {
    const title = `${file.name} (${readableSize(file.size)})`;
    if (this.onChoose({ blob: file, name: file.name })) this.chosen(title, null);
  }

  chosen(title, example) {
    byId("chosen").textContent = title;
    for (const button of byId("examples").children) {
      button.setAttribute("aria-pressed", String(button === example));
    }
  }

  /** Show the example films: [{ name, caption, url }]. */
  showExamples(examples) {
    const caption = byId("example-caption");
    const buttons = examples.map((film, index) => {
      const button = make("button", {
        type: "button",
        class: "mi-example",
        id: `medinterp-example-${index}`,
        "aria-pressed": "false",
        "aria-label": `Example ${index + 1}: ${film.caption}`,
      }, make("img", { src: film.url, alt: "", draggable: "false", loading: "lazy" }));
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
