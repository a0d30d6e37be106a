import { getContext, setContext } from 'svelte';
import { homes, least, narrow, presets, presetScale, screenScale, type Preset } from './presets';
import {
  arrange,
  hide,
  join,
  paneIds,
  parse,
  part,
  resize,
  show,
  shownOf,
  stackOf,
  swap,
  type Layout,
  type PaneId,
  type Separator,
  type Side,
} from './tree';

const storedPreset = 'kabel.preset';
const storedBig = 'kabel.big';
const storedLayout = (preset: Preset): string => `kabel.layout.${preset}`;

/** The panes of the lab page, as the reader arranged them: kept for each preset. */
export class Panes {
  preset = $state<Preset>('learner');
  #layout = $state.raw<Layout>(homes.learner);
  /** The one that has all the room. */
  big = $state<PaneId | null>(null);
  /** The one that a narrow page shows. */
  alone = $state<PaneId>('lesson');
  room = $state.raw({ width: 0, height: 0 });
  window = $state.raw({ width: 1280, height: 800 });
  #session = '';

  readonly screenScale = $derived(screenScale(this.window.width, this.window.height));
  /** How much larger than by the stylesheet the lab page is drawn. */
  readonly scale = $derived.by(() => {
    const scale = this.screenScale * presetScale[this.preset];
    // Large letters are of no use to who then sees one pane at a time.
    return this.window.width / scale < narrow ? 1 : scale;
  });
  readonly narrow = $derived(this.window.width / this.scale < narrow);
  /** The calm page has no bars over single panes. */
  readonly calm = $derived(this.preset === 'projector' && !this.narrow);

  readonly placed = $derived.by(() => {
    const box = { x: 0, y: 0, ...this.room };
    if (this.narrow) {
      return { stacks: [{ panes: [this.alone], front: this.alone, box }], separators: [] };
    }
    const of = this.big && stackOf(this.#layout, this.big);
    if (of && this.big) {
      return { stacks: [{ panes: shownOf(this.#layout, of), front: this.big, box }], separators: [] };
    }
    return arrange(this.#layout, box, least);
  });

  constructor() {
    const was = localStorage.getItem(storedPreset);
    this.preset = presets.find((p) => p === was) ?? 'learner';
    this.#layout = this.#kept();
  }

  #kept(): Layout {
    const home = homes[this.preset];
    return parse(localStorage.getItem(storedLayout(this.preset)), home) ?? home;
  }

  /** A session's page is opened: after a reload, with the same pane over all others. */
  enter(session: string): void {
    this.#session = session;
    this.alone = 'lesson';
    const [of, pane] = (sessionStorage.getItem(storedBig) ?? '').split(' ');
    this.big = of === session ? (paneIds.find((p) => p === pane) ?? null) : null;
  }

  /** Whether a pane is wanted at all; another one may stand in front of it. */
  wanted(pane: PaneId): boolean {
    return !this.#layout.hidden.includes(pane);
  }

  visible(pane: PaneId): boolean {
    return this.placed.stacks.some((s) => s.front === pane);
  }

  choose(preset: Preset): void {
    localStorage.setItem(storedPreset, preset);
    this.preset = preset;
    this.enlarge(null);
    this.#layout = this.#kept();
  }

  /** Back to how the preset is for somebody new. */
  reset(): void {
    localStorage.removeItem(storedLayout(this.preset));
    this.enlarge(null);
    this.#layout = homes[this.preset];
  }

  show(pane: PaneId): void {
    this.alone = pane;
    if (this.big && this.big !== pane) {
      const beside = stackOf(this.#layout, pane) === stackOf(this.#layout, this.big);
      this.enlarge(beside ? pane : null);
    }
    this.#keep(show(this.#layout, pane));
  }

  hide(pane: PaneId): void {
    if (this.big === pane) this.enlarge(null);
    if (this.alone === pane) this.alone = 'lesson';
    this.#keep(hide(this.#layout, pane));
  }

  enlarge(pane: PaneId | null): void {
    this.big = pane;
    if (pane) {
      this.#keep(show(this.#layout, pane));
      sessionStorage.setItem(storedBig, `${this.#session} ${pane}`);
    } else sessionStorage.removeItem(storedBig);
  }

  resize(separator: Separator, to: number): void {
    this.#keep(resize(this.#layout, separator, to));
  }
  swap(a: PaneId, b: PaneId): void {
    this.enlarge(null);
    this.#keep(swap(this.#layout, a, b));
  }
  join(pane: PaneId, target: PaneId): void {
    this.enlarge(null);
    this.#keep(join(this.#layout, pane, target));
  }
  part(pane: PaneId, side: Side, target: PaneId | null): void {
    this.enlarge(null);
    this.#keep(part(this.#layout, pane, side, target));
  }

  #keep(layout: Layout): void {
    this.#layout = layout;
    localStorage.setItem(storedLayout(this.preset), JSON.stringify(layout));
  }
}

const key = Symbol('panes');
export const providePanes = (panes: Panes): Panes => setContext(key, panes);
export const usePanes = (): Panes => getContext<Panes>(key);
