import { getContext, setContext, type Component } from 'svelte';
import type { Store } from '../store.svelte';
import type { Picture } from '../topology/picture';
import type { Deeds } from './deeds.svelte';
import type { Form } from './forms';

/** What of building by hand is loaded once the page is there. */
interface Parts {
  /** In the picture: plugs to draw cables from, and what a cable may reach. */
  Reach: Component<{ hands: Hands; picture: Picture; zoom: number }>;
  /** Over the picture: the tools, the menus and the forms. */
  Bench: Component<{ hands: Hands }>;
  Deeds: typeof Deeds;
}

/** Where something opens, in the window, and to what the keyboard goes back. */
export interface Spot {
  x: number;
  y: number;
  item?: string;
  /** A finger that opened it is still down; that it goes closes nothing. */
  held?: boolean;
}

/** What one does to the world with the mouse. */
export class Hands {
  parts = $state.raw<Parts | null>(null);
  deeds = $state.raw<Deeds | null>(null);
  /** Whether every drag in the picture draws a cable. */
  cabling = $state(false);
  /** What can be done with an item is shown here. */
  menu = $state.raw<(Spot & { item: string }) | null>(null);
  form = $state.raw<(Spot & { form: Form }) | null>(null);
  /** The number of the last deed whose outcome the reader has seen. */
  seen = $state(0);
  /** For who does not see the picture. */
  said = $state('');

  #back: Element | null = null;

  constructor(readonly store: Store) {}

  async load(): Promise<void> {
    this.parts ??= (await import('./bench')).parts;
    this.deeds ??= new this.parts.Deeds(this.store);
  }

  ask(form: Form, at: Spot): void {
    this.#leave();
    this.menu = null;
    this.form = { form, ...at };
  }

  offer(item: string, at: Spot): void {
    this.#leave();
    this.form = null;
    this.menu = { ...at, item };
  }

  /** Closes what is open; the keyboard goes back to where it was. */
  close(): void {
    const item = (this.menu ?? this.form)?.item;
    this.menu = this.form = null;
    const back = item === undefined ? this.#back : document.getElementById(`item ${item}`);
    if (back instanceof HTMLElement || back instanceof SVGElement) back.focus();
  }

  #leave(): void {
    if (!this.menu && !this.form) this.#back = document.activeElement;
  }
}

const key = Symbol('hands');
export const provideHands = (hands: Hands): Hands => setContext(key, hands);
export const useHands = (): Hands => getContext<Hands>(key);
