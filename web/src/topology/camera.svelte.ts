import type { Point } from './geometry';
import type { Picture } from './picture';
import { anchored, between, fitted, pinched, zoomed, type View } from './viewport';

const glide = 320; // ms

/** Where one looks at the picture from: it fits itself until the reader moves it. */
export class Camera {
  view = $state.raw<View>({ x: 0, y: 0, k: 1 });
  moved = $state(false);
  /** Something was dragged since the pointer went down: what follows is no click. */
  dragged = false;

  readonly #fingers = new Map<number, Point>();
  readonly #still = matchMedia('(prefers-reduced-motion: reduce)');
  #picture: Picture | null = null;
  #size = { width: 0, height: 0 };
  #frame = 0;
  #grabbed: { at: Point; view: View } | null = null;

  /** Shows a picture in a pane. One that grew is followed smoothly, not at once. */
  show(picture: Picture | null, width: number, height: number): void {
    const was = this.#picture;
    const resized = width !== this.#size.width || height !== this.#size.height;
    this.#picture = picture;
    this.#size = { width, height };
    if (!picture) return;
    const first = !was?.items.length;
    if (!first && was !== picture)
      this.view = anchored(this.view, was, picture, { x: width / 2, y: height / 2 });
    if (this.moved) return;
    this.#go(fitted(picture, width, height), first || resized);
  }

  fit(): void {
    this.moved = false;
    if (this.#picture) this.#go(fitted(this.#picture, this.#size.width, this.#size.height), false);
  }

  zoom(by: number, at: Point = { x: this.#size.width / 2, y: this.#size.height / 2 }): void {
    this.#take(zoomed(this.view, by, at.x, at.y));
  }

  /** Moves what is at a place of the picture into sight, if it is not. */
  reveal(at: Point): void {
    const { width, height } = this.#size;
    const [x, y] = [this.view.x + at.x * this.view.k, this.view.y + at.y * this.view.k];
    const inside = x >= 0 && y >= 0 && x <= width && y <= height;
    if (inside || !this.moved) return;
    this.#go({ ...this.view, x: this.view.x + width / 2 - x, y: this.view.y + height / 2 - y }, false);
  }

  grab(e: PointerEvent & { currentTarget: Element }): void {
    if (e.button !== 0) return;
    this.#fingers.set(e.pointerId, pointIn(e));
    this.dragged = this.#fingers.size > 1;
    this.#grabbed = { at: { x: e.clientX, y: e.clientY }, view: this.view };
  }

  drag(e: PointerEvent & { currentTarget: Element }): void {
    const before = this.#fingers.get(e.pointerId);
    if (!before || !this.#grabbed) return;
    const now = pointIn(e);
    this.#fingers.set(e.pointerId, now);
    const other = [...this.#fingers].find(([id]) => id !== e.pointerId)?.[1];
    if (other) return this.#take(pinched(this.view, [before, other], [now, other]));
    const { at, view } = this.#grabbed;
    const [dx, dy] = [e.clientX - at.x, e.clientY - at.y];
    if (!this.dragged && Math.hypot(dx, dy) < 4) return;
    if (!this.dragged) e.currentTarget.setPointerCapture(e.pointerId);
    this.dragged = true;
    this.#take({ ...view, x: view.x + dx, y: view.y + dy });
  }

  release(e: PointerEvent): void {
    this.#fingers.delete(e.pointerId);
    this.#grabbed = null;
  }

  /** Svelte listens to wheel passively where it can; the pane must keep the page still. */
  readonly wheel = (svg: SVGSVGElement): (() => void) => {
    const zoom = (e: WheelEvent): void => {
      e.preventDefault();
      const box = svg.getBoundingClientRect();
      this.zoom(Math.exp(-e.deltaY * 0.0015), { x: e.clientX - box.x, y: e.clientY - box.y });
    };
    svg.addEventListener('wheel', zoom, { passive: false });
    return () => {
      svg.removeEventListener('wheel', zoom);
      cancelAnimationFrame(this.#frame);
    };
  };

  #take(v: View): void {
    cancelAnimationFrame(this.#frame);
    this.moved = true;
    this.view = v;
  }

  #go(to: View, atOnce: boolean): void {
    cancelAnimationFrame(this.#frame);
    if (atOnce || this.#still.matches) {
      this.view = to;
      return;
    }
    const [from, begun] = [this.view, performance.now()];
    const step = (now: number): void => {
      const part = Math.min(1, Math.max(0, (now - begun) / glide));
      this.view = part === 1 ? to : between(from, to, part);
      if (part < 1) this.#frame = requestAnimationFrame(step);
    };
    this.#frame = requestAnimationFrame(step);
  }
}

function pointIn(e: PointerEvent & { currentTarget: Element }): Point {
  const box = e.currentTarget.getBoundingClientRect();
  return { x: e.clientX - box.x, y: e.clientY - box.y };
}
