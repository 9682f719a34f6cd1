// Views of which one is shown: a click changes it, and arrow keys do.

import { byId } from "./dom.js";

export class Tabs {
  /**
   * The first tab is shown.
   * @param {HTMLElement} root carries data-tab
   * @param {string[]} names of the tabs #medinterp-tab-NAME, in order; each shows the element that it controls
   * @param {(name: string) => void} onShow another is shown
   */
  constructor(root, names, onShow = () => {}) {
    this.root = root;
    this.names = names;
    this.onShow = onShow;
    for (const [at, name] of names.entries()) {
      const tab = byId(`tab-${name}`);
      tab.addEventListener("click", () => this.show(name));
      tab.addEventListener("keydown", ({ key }) => {
        const step = key === "ArrowRight" ? 1 : key === "ArrowLeft" ? -1 : 0;
        if (step === 0) return;
        const next = names[(at + step + names.length) % names.length];
        this.show(next);
        byId(`tab-${next}`).focus();
      });
    }
    this.show(names[0]);
  }

  get shown() {
    return this.root.dataset.tab ?? this.names[0];
  }

  /** @param {string} shown */
  show(shown) {
    this.root.dataset.tab = shown;
    for (const name of this.names) {
      const tab = byId(`tab-${name}`);
      tab.setAttribute("aria-selected", String(name === shown));
      tab.tabIndex = name === shown ? 0 : -1;
      const view = document.getElementById(tab.getAttribute("aria-controls") ?? "");
      if (view === null) throw new Error(`The tab ${name} controls nothing.`);
      view.hidden = name !== shown;
    }
    this.onShow(shown);
  }
}
