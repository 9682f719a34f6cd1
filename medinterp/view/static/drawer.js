// The drawer beside the report: what is known of the selection. It opens with the first selection where there is room
// for it, and stays as the reader leaves it.

import { byId, typing } from "./dom.js";
import { Tabs } from "./tabs.js";

const ROOM = 1280; // CSS pixels of the window from which on it opens by itself

export class Drawer {
  /** onTab(name) when another of its views is seen, or it is opened. */
  constructor(onTab) {
    this.node = byId("drawer");
    this.touched = false; // the reader has opened or closed it
    this.onTab = onTab;
    this.tabs = new Tabs(this.node, ["word", "text", "heads", "region"], (name) => {
      if (!this.node.hidden) this.onTab(name);
    });
    byId("drawer-close").addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => {
      if (event.key !== "d" || typing(event)) return;
      if (this.node.hidden) this.open(this.tabs.shown);
      else this.close();
    });
  }

  /** The tab that is seen, null while the drawer is shut. */
  get seen() {
    return this.node.hidden ? null : this.tabs.shown;
  }

  open(tab) {
    this.touched = true;
    this.node.hidden = false;
    this.tabs.show(tab);
  }

  close() {
    this.touched = true;
    this.node.hidden = true;
  }

  /** Something was selected. */
  offer() {
    if (this.node.hidden && !this.touched && innerWidth >= ROOM) this.node.hidden = false;
    if (!this.node.hidden) this.onTab(this.tabs.shown);
  }

  /** The report is gone. */
  leave() {
    this.node.hidden = true;
    this.touched = false;
  }
}
