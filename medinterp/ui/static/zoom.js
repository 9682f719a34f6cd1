// Zoom and move a picture inside its stage: wheel, drag, double click, keys. 1 = fitted.

const LARGEST = 8;
const STEP = 1.25;

export class Zoom {
  /** onZoom() is called when the factor has changed. */
  constructor(stage, picture, onZoom) {
    this.stage = stage;
    this.picture = picture;
    this.onZoom = onZoom;
    this.fit();
    stage.addEventListener("wheel", (event) => {
      if (picture.hidden) return;
      event.preventDefault();
      this.by(event.deltaY < 0 ? STEP : 1 / STEP, event.clientX, event.clientY);
    }, { passive: false });
    stage.addEventListener("dblclick", (event) => {
      if (event.target.closest("button")) return;
      if (this.factor > 1) this.fit();
      else this.by(2.5, event.clientX, event.clientY);
    });
    stage.addEventListener("pointerdown", (event) => this.grab(event));
    stage.addEventListener("keydown", (event) => this.keyed(event));
  }

  fit() {
    this.factor = 1;
    this.x = 0;
    this.y = 0;
    this.apply();
  }

  /** Zoom about a point of the window, or about the middle of the stage. */
  by(step, clientX, clientY) {
    const box = this.stage.getBoundingClientRect();
    const dx = (clientX ?? box.left + box.width / 2) - (box.left + box.width / 2);
    const dy = (clientY ?? box.top + box.height / 2) - (box.top + box.height / 2);
    const factor = Math.min(LARGEST, Math.max(1, this.factor * step));
    const ratio = factor / this.factor;
    this.factor = factor;
    this.x = dx - (dx - this.x) * ratio;
    this.y = dy - (dy - this.y) * ratio;
    this.apply();
    if (ratio !== 1) this.onZoom();
  }

  move(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.apply();
  }

  /** The picture never leaves the stage: half of the overhang is as far as it goes. */
  apply() {
    const reachX = (this.picture.offsetWidth * (this.factor - 1)) / 2;
    const reachY = (this.picture.offsetHeight * (this.factor - 1)) / 2;
    this.x = Math.min(reachX, Math.max(-reachX, this.x));
    this.y = Math.min(reachY, Math.max(-reachY, this.y));
    this.picture.style.transform = this.factor === 1
      ? "" : `translate(${this.x}px, ${this.y}px) scale(${this.factor})`;
    this.stage.classList.toggle("mi-zoomed", this.factor > 1);
  }

  grab(event) {
    if (this.factor === 1 || event.button !== 0 || event.target.closest("button")) return;
    let { clientX, clientY } = event;
    this.stage.setPointerCapture(event.pointerId);
    const follow = (next) => {
      this.move(next.clientX - clientX, next.clientY - clientY);
      ({ clientX, clientY } = next);
    };
    const release = () => {
      this.stage.removeEventListener("pointermove", follow);
      this.stage.removeEventListener("pointerup", release);
      this.stage.removeEventListener("pointercancel", release);
    };
    this.stage.addEventListener("pointermove", follow);
    this.stage.addEventListener("pointerup", release);
    this.stage.addEventListener("pointercancel", release);
  }

  keyed(event) {
    if (event.target !== this.stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    if (event.key === "+" || event.key === "=") this.by(STEP);
    else if (event.key === "-") this.by(1 / STEP);
    else if (event.key === "0") this.fit();
    else if (moves[event.key] && this.factor > 1) this.move(...moves[event.key]);
    else return;
    event.preventDefault();
  }
}
