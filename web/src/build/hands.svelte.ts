import { getContext, setContext, type Component } from 'svelte';
import type { Store } from '../store.svelte';
import type { Picture } from '../topology/picture';

/** What of building by hand is loaded once the page is there. */
interface Parts {
  /** In the picture: plugs to draw cables from, and what a cable may reach. */
  Reach: Component<{ hands: Hands; picture: Picture; zoom: number }>;
  /** Over the picture: the tools, the menus and the forms. */
  Bench: Component<{ hands: Hands }>;
}

/** What one does to the world with the mouse. */
export class Hands {
  parts = $state.raw<Parts | null>(null);

  constructor(readonly store: Store) {}

  async load(): Promise<void> {
    this.parts ??= (await import('./bench')).parts;
  }
}

const key = Symbol('hands');
export const provideHands = (hands: Hands): Hands => setContext(key, hands);
export const useHands = (): Hands => getContext<Hands>(key);
