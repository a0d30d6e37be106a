import { getContext, setContext, type Component } from 'svelte';
import type { Cable, Picture } from '../topology/picture';
import type { LinkId } from '../wire';
import type { Packets } from './packets.svelte';

/** What of the pane is loaded when it is first opened. */
interface Parts {
  Packets: typeof Packets;
  Pane: Component<{ packets: Packets; close: () => void }>;
  Traffic: Component<{
    packets: Packets;
    picture: Picture;
    zoom: number;
    choose: (cable: Cable) => void;
  }>;
}

/** Whether a session's packets are watched: only then are they captured. */
export class Watch {
  packets = $state.raw<Packets | null>(null);
  parts = $state.raw<Parts | null>(null);
  wanted = $state(false);
  failed = $state(false);

  constructor(private readonly session: string) {}

  get #stored(): string {
    return `kabel.packets.${this.session}`;
  }

  /** As it was before a reload. */
  restore(): void {
    if (sessionStorage.getItem(this.#stored) === 'open') void this.open();
  }

  async open(): Promise<Packets | null> {
    this.wanted = true;
    this.failed = false;
    sessionStorage.setItem(this.#stored, 'open');
    try {
      this.parts ??= (await import('./pane')).parts;
    } catch {
      this.failed = true;
      return null;
    }
    if (this.wanted) this.packets ??= new this.parts.Packets(this.session);
    return this.packets;
  }

  /** Closed by the reader, who will not want it after a reload either. */
  close(): void {
    sessionStorage.removeItem(this.#stored);
    this.leave();
  }

  leave(): void {
    this.wanted = false;
    this.packets?.close();
    this.packets = null;
  }

  /** Shows what passes these interfaces, and nothing else. */
  async at(places: LinkId[]): Promise<void> {
    (await this.open())?.at(places);
  }
}

const key = Symbol('watch');
export const provideWatch = (watch: Watch): Watch => setContext(key, watch);
export const useWatch = (): Watch => getContext<Watch>(key);
