// The drawer beside the report: what is known of the selection. It opens with the first selection where there is room
// for it, and stays as the reader leaves it.

import { byId, typing } from "./dom.js";
import { Tabs } from "./tabs.js";

// It opens by itself where it has a column of its own, or its place below the report: not where it would lie over the film.
const HAS_ROOM = "(min-width: 1280px), (max-width: 1080px)";

export class Drawer {
  /** @param {(name: string | null) => void} onTab another of its views is seen, or it is opened, or shut (null) */
  constructor(onTab) {
    this.node = byId("drawer");
    this.touched = false; // the reader has opened or closed it
    this.onTab = onTab;
    this.button = byId("drawer-open");
    this.button.addEventListener("click", () => (this.node.hidden ? this.open(this.tabs.shown) : this.close()));
    this.tabs = new Tabs(this.node, ["word", "text", "heads", "region"], (name) => {
      if (!this.node.hidden) this.onTab(name);
    });
    byId("drawer-close").addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => {
      if (event.key !== "d" || typing(event)) return;
      this.button.click();
    });
  }

  /** The tab that is seen, null while the drawer is shut. */
  get seen() {
    return this.node.hidden ? null : this.tabs.shown;
  }

  /** @param {string} tab */
  open(tab) {
    this.touched = true;
    this.shown(true);
    this.tabs.show(tab);
  }

  close() {
    this.touched = true;
    this.shown(false);
    this.onTab(null);
    if (this.node.contains(document.activeElement)) this.button.focus();
  }

  /** @param {boolean} on */
  shown(on) {
    this.node.hidden = !on;
    this.button.setAttribute("aria-expanded", String(on));
  }

  /** Something was selected. */
  offer() {
    if (this.node.hidden && !this.touched && matchMedia(HAS_ROOM).matches) this.shown(true);
    if (!this.node.hidden) this.onTab(this.tabs.shown);
  }

  /** The report is gone. */
  leave() {
    this.shown(false);
    this.touched = false;
  }
}
