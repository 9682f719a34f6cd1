// Views of which one is shown: a click changes it, and arrow keys do.

import { byId } from "./dom.js";

export class Tabs {
  /**
   * names: of the tabs #medinterp-tab-NAME, in order; each shows the element that it controls. The first is shown.
   * root: carries data-tab; onShow(name) when another is shown.
   */
  constructor(root, names, onShow = () => {}) {
    this.root = root;
    this.names = names;
    this.onShow = onShow;
    for (const [at, name] of names.entries()) {
      const tab = byId(`tab-${name}`);
      tab.addEventListener("click", () => this.show(name));
      tab.addEventListener("keydown", ({ key }) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
        if (!step) return;
        const next = names[(at + step + names.length) % names.length];
        this.show(next);
        byId(`tab-${next}`).focus();
      });
    }
    this.show(names[0]);
  }

  get shown() {
    return this.root.dataset.tab;
  }

  show(shown) {
    this.root.dataset.tab = shown;
    for (const name of this.names) {
      const tab = byId(`tab-${name}`);
      tab.setAttribute("aria-selected", String(name === shown));
      tab.tabIndex = name === shown ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = name !== shown;
    }
    this.onShow(shown);
  }
}
