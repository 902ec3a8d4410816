// The density strip: the whole context from left to right, a bar wherever tokens were read. Also a
// slider that moves the text below it.
import {CHOSEN} from "./context_view.js";

const LEAST_BAR = 0.15;  // of the height: one token among 100,000 must be seen

export class Strip {
  constructor(canvas, view) {
    this.canvas = canvas;
    this.view = view;
    this.levels = new Uint8Array(0);
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    view.element.addEventListener("scroll", () => this.draw());
    canvas.addEventListener("pointerdown", (event) => this.onPointer(event));
    canvas.addEventListener("pointermove", (event) => event.buttons === 1 && this.onPointer(event));
    canvas.addEventListener("keydown", (event) => this.onKey(event));
  }

  show(levels) {
    this.levels = levels;
    this.draw();
  }

  onPointer(event) {
    const box = this.canvas.getBoundingClientRect();
    this.moveTo((event.clientX - box.left) / box.width);
  }

  onKey(event) {
    const steps = {ArrowLeft: -0.02, ArrowRight: 0.02, PageUp: -0.1, PageDown: 0.1, Home: -1, End: 1};
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const [first, end] = this.view.visible();
    this.moveTo((first + end) / 2 / this.levels.length + step);
  }

  moveTo(share) {
    const n = this.levels.length;
    if (n > 0) this.view.scrollTo(Math.min(n - 1, Math.max(0, Math.floor(share * n))));
  }

  // For each of n columns the brightness of its tokens, added up.
  density(n) {
    const bins = new Float64Array(n);
    const width = n / this.levels.length;
    this.levels.forEach((level, token) => {
      if (level === 0 || level === CHOSEN) return;
      const first = Math.floor(token * width);
      const end = Math.max(first + 1, Math.floor((token + 1) * width));
      for (let bin = first; bin < end; ++bin) bins[bin] += level;
    });
    return bins;
  }

  draw() {
    const {canvas} = this;
    canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
    canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
    if (this.levels.length === 0 || canvas.width === 0) return;
    const style = getComputedStyle(canvas);
    const paint = canvas.getContext("2d");
    this.drawBars(paint, style.getPropertyValue("--lit"));
    this.drawViewport(paint, style.color);
    this.drawChosen(paint, style.getPropertyValue("--chosen"));
  }

  drawViewport(paint, color) {
    const n = this.levels.length;
    const [first, end] = this.view.visible();
    const {width, height} = this.canvas;
    const line = 2 * devicePixelRatio;
    const shown = Math.max(3 * line, (end - first) / n * width);
    paint.lineWidth = line;
    paint.strokeStyle = color;
    paint.strokeRect(first / n * width + line / 2, line / 2, shown - line, height - line);
    this.canvas.setAttribute("aria-valuemax", n);
    this.canvas.setAttribute("aria-valuenow", first + 1);
    this.canvas.setAttribute("aria-valuetext", `tokens ${first + 1} to ${end} of ${n}`);
  }

  drawBars(paint, color) {
    const {width, height} = this.canvas;
    const bins = this.density(width);
    const most = bins.reduce((a, b) => Math.max(a, b), 0);
    paint.fillStyle = color;
    bins.forEach((sum, x) => {
      if (sum === 0) return;
      const bar = height * (LEAST_BAR + (1 - LEAST_BAR) * sum / most);
      paint.fillRect(x, height - bar, 1, bar);
    });
  }

  drawChosen(paint, color) {
    const token = this.levels.indexOf(CHOSEN);
    if (token < 0) return;
    const {width, height} = this.canvas;
    paint.fillStyle = color;
    paint.fillRect(Math.min(width - 3, token / this.levels.length * width), 0, 3, height);
  }
}
