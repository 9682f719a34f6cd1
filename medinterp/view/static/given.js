// A report that somebody else wrote: the folded box for it below the prompt. While it holds text, the model writes
// nothing, and the text is explained instead. It goes with the report that was made of it.

import { byId } from "./dom.js";
import { Problem } from "./api.js";

const BYTES = 4; // of a character in UTF-8, at most

/**
 * Whether a dropped or pasted file can be no film.
 * @param {File} file
 */
export function isText(file) {
  return file.type === "text/plain" || /\.txt$/i.test(file.name);
}

/**
 * A file's text. Rejects with a Problem where it is none.
 * @param {File} file
 */
async function textOf(file) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    if (!text.includes("\0")) return text;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
  throw new Problem({ title: "This file is not plain text.", detail: "A report is taken from a .txt file in UTF-8 only." });
}

export class Given {
  /** @param {(error: unknown) => void} onProblem */
  constructor(onProblem) {
    this.onProblem = onProblem;
    this.box = byId("given");
    this.field = byId("given-text");
    this.limit = 20_000; // characters, until the service has told its own
    /** @type {string | null} */
    this.explained = null; // the text that the report on the page was made of
    this.field.addEventListener("input", () => this.show());
    byId("given-clear").addEventListener("click", () => {
      this.clear();
      this.field.focus();
    });
    this.show();
  }

  /** @param {number} characters */
  useLimit(characters) {
    this.limit = characters;
    this.show();
  }

  /** The report to be explained, or null where one is to be written. */
  get text() {
    return this.field.value.trim() ? this.field.value : null;
  }

  /** Say what the button does, and what is out of use. */
  show() {
    const given = this.text !== null;
    const count = Array.from(this.field.value).length;
    const long = count > this.limit;
    byId("given-count").textContent = !given ? "" : `${count.toLocaleString("en")} characters`
      + (long ? `: at most ${this.limit.toLocaleString("en")} are taken` : "");
    byId("given-count").classList.toggle("mi-too-long", long);
    byId("given-clear").hidden = !this.field.value;
    byId("read").textContent = given ? "Explain this report" : "Read film";
    byId("max-tokens").disabled = given;
    byId("max-tokens-label").title = given ? "Out of use: nothing is written" : "Where the report is cut off";
    byId("window-note").textContent = "With another window the film is read again, and the report is "
      + (given ? "explained again." : "written again.");
  }

  /** @param {string} text */
  put(text) {
    this.field.value = text;
    this.show();
  }

  /**
   * A text file takes the place of what is in the box.
   * @param {File} file
   */
  async take(file) {
    try {
      const text = file.size > BYTES * this.limit ? null : await textOf(file);
      if (text === null || Array.from(text).length > this.limit) {
        throw new Problem({ title: "This file is too long for a report.",
          detail: `At most ${this.limit.toLocaleString("en")} characters are taken.` });
      }
      this.put(text);
      this.box.open = true;
      this.field.focus();
    } catch (error) {
      this.onProblem(error);
    }
  }

  clear() {
    this.explained = null;
    this.put("");
  }

  /** Another film: what was explained on the former one is gone, true if there was any; what is new stays. */
  leave() {
    const gone = this.explained !== null && this.explained === this.field.value;
    if (gone) this.clear();
    this.explained = null;
    return gone;
  }
}
