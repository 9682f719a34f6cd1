// The view in the address: what is seen stands behind the "#", "back" and "forward" lead from view to view, and a link can
// be copied.

/** @import { ViewState } from "./types" */

import { read, written } from "./link.js";

const SETTLED = 800; // ms after which another selection is a step of its own for "back"

export class Address {
  /**
   * @param {() => ViewState} state what is seen
   * @param {(state: ViewState) => Promise<void>} show has it seen
   */
  constructor(state, show) {
    this.state = state;
    this.show = show;
    this.still = true; // the page is being made, or a view is being shown: nothing is kept
    this.stepped = -Infinity; // when the last step for "back" was made
    this.shown = Promise.resolve(); // when what the address told last is on the page
    /** @type {{ step: boolean } | null} */
    this.remembering = null; // the view is to be kept after the next frame
  }

  /** Show what the address tells, and follow "back" and "forward" from then on. */
  async begin() {
    addEventListener("popstate", () => this.restore());
    await this.restore();
  }

  /**
   * Have the view kept in the address, once it is on the screen: the browser takes 5 ms for it, a third of a frame.
   * step: as one that "back" leads to.
   */
  remember(step = false) {
    if (this.still) return;
    const waiting = this.remembering !== null;
    this.remembering = { step: step || this.remembering?.step === true };
    if (!waiting) requestAnimationFrame(() => setTimeout(() => this.keep()));
  }

  /** The address tells the view from now on. */
  keep() {
    if (this.remembering === null) return;
    const { step } = this.remembering;
    this.remembering = null;
    const address = `${location.pathname}${location.search}${written(this.state())}`;
    if (address === `${location.pathname}${location.search}${location.hash}`) return;
    const now = performance.now();
    if (step && now - this.stepped > SETTLED) {
      history.pushState(null, "", address);
      this.stepped = now;
    } else history.replaceState(null, "", address);
  }

  /** Show what the address tells, once what it told before is shown; from then on views are kept. */
  async restore() {
    this.still = true;
    this.remembering = null; // what was seen before is not to come back over it
    const shown = this.shown.then(() => this.show(read(location.hash)));
    this.shown = shown;
    await shown;
    if (this.shown === shown) this.still = false;
  }

  /** @param {(text: string) => void} tell */
  async copy(tell) {
    this.remember();
    this.keep();
    try {
      await navigator.clipboard.writeText(location.href);
      tell("The link is copied. Whoever has it can see this report until it is forgotten.");
    } catch {
      tell("The link is in the address line: the browser did not let it be copied.");
    }
  }
}
