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
    this.button = byId("drawer-open");
    byId("drawer-close").addEventListener("click", () => {
      this.close();
      this.button.focus();
    });
    this.button.addEventListener("click", () => this.toggle());
    document.addEventListener("keydown", (event) => {
      if (event.key === "d" && !typing(event)) this.toggle();
    });
  }

  toggle() {
    if (!this.node.hidden) {
      this.close();
      return;
    }
    this.open(this.tabs.shown);
    if (matchMedia("(max-width: 1080px)").matches) this.node.scrollIntoView({ block: "nearest" }); // it stands under the report
  }

  show(on) {
    this.node.hidden = !on;
    this.button.setAttribute("aria-expanded", String(on));
  }

  /** The tab that is seen, null while the drawer is shut. */
  get seen() {
    return this.node.hidden ? null : this.tabs.shown;
  }

  open(tab) {
    this.touched = true;
    this.show(true);
    this.tabs.show(tab);
  }

  close() {
    this.touched = true;
    this.show(false);
    this.onTab(null); // what a view of it lent to film and report is taken back
  }

  /** Something was selected. */
  offer() {
    if (this.node.hidden && !this.touched && innerWidth >= ROOM) this.show(true);
    if (!this.node.hidden) this.onTab(this.tabs.shown);
  }

  /** The report is gone. */
  leave() {
    this.show(false);
    this.touched = false;
  }
}
