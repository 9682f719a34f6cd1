// A question to the model that takes a while: how far it is, and a button that ends it. One at a time: a new
// question takes the place of the one before, and the server drops what nobody waits for any more.

/** @import { Asking, Progress } from "./types" */

import { make } from "./dom.js";

export class Question {
  /**
   * name: the ids are #medinterp-NAME, and -text, -bar, -stop in it. onStop() is called when the reader ends the
   * question; whoever else ends it knows.
   * @param {string} name
   * @param {() => void} onStop
   */
  constructor(name, onStop) {
    const id = `medinterp-${name}`;
    /** @type {AbortController | null} */
    this.running = null; // of the question that is being asked
    this.hadFocus = false; // Stop had the focus when it went away: somebody has to take it
    this.text = make("p", { class: "mi-running-text", id: `${id}-text` });
    this.bar = make("progress", { id: `${id}-bar`, "aria-labelledby": `${id}-text` });
    this.stop = make("button", { type: "button", class: "mi-button mi-small", id: `${id}-stop` }, "Stop");
    this.note = make("p", { class: "mi-quiet mi-running-note" });
    // The numbers change too often to be read out: whoever asks says when it begins and ends.
    this.node = make("div", { class: "mi-running", id, hidden: true, "aria-live": "off" },
      this.text, this.bar, this.stop, this.note);
    this.stop.addEventListener("click", () => {
      this.abandon();
      onStop();
    });
  }

  /**
   * Ask by `ask({ signal, onProgress })`, and show how far it is. Resolves with the answer, or with null when the
   * question was ended; rejects with the Problem. what: the name of what is asked; unit: what is counted.
   * @template Answer
   * @param {{ what: string, unit: string, note?: string }} told
   * @param {(asking: Asking) => Promise<Answer>} ask
   */
  async ask({ what, unit, note = "" }, ask) {
    this.abandon();
    const running = new AbortController();
    this.running = running;
    this.text.textContent = `${what}: waiting for the model …`;
    this.note.textContent = note;
    this.bar.removeAttribute("value");
    this.node.hidden = false;
    const onProgress = (/** @type {Progress} */ { done, of }) => {
      if (running.signal.aborted) return;
      this.text.textContent = `${what}: ${done} of ${of} ${unit}`;
      this.bar.max = of;
      this.bar.value = done;
    };
    try {
      const answer = await ask({ signal: running.signal, onProgress });
      return running.signal.aborted ? null : answer;
    } catch (error) {
      if (running.signal.aborted) return null;
      throw error;
    } finally {
      if (this.running === running) this.abandon();
    }
  }

  /** End the question, if one is being asked. */
  abandon() {
    this.running?.abort();
    this.running = null;
    this.hadFocus = document.activeElement === this.stop;
    this.node.hidden = true;
  }
}
