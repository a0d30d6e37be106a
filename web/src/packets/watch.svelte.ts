import { getContext, setContext, type Component } from 'svelte';
import type { Cable, Picture } from '../topology/picture';
import type { LinkId } from '../wire';
import type { Packets } from './packets.svelte';

/** What the picture shows of packets. */
export type Passing = Pick<Packets, 'listen' | 'view'>;

interface TrafficParts {
  Traffic: Component<{ packets: Passing; picture: Picture; zoom: number }>;
  CableReach: Component<{ packets: Passing; picture: Picture; choose: (cable: Cable) => void }>;
}

/** What of the pane is loaded when it is first opened. */
interface Parts extends TrafficParts {
  Packets: typeof Packets;
  Pane: Component<{ packets: Packets; close: () => void }>;
}

/** What the picture needs of a watch. */
export interface Watched {
  readonly packets: Passing | null;
  readonly parts: TrafficParts | null;
  at(places: LinkId[]): Promise<void>;
}

/** Whether a session's packets are watched: only then are they captured. */
export class Watch implements Watched {
  packets = $state.raw<Packets | null>(null);
  parts = $state.raw<Parts | null>(null);
  wanted = $state(false);
  failed = $state(false);
  /** Counts the times that they were asked for: they are to be seen then. */
  asked = $state(0);

  constructor(private readonly session: string) {}

  async open(): Promise<Packets | null> {
    this.wanted = true;
    this.failed = false;
    try {
      this.parts ??= (await import('./pane')).parts;
    } catch {
      this.failed = true;
      return null;
    }
    if (!this.wanted) return null;
    if (this.packets) this.packets.wake();
    else this.packets = new this.parts.Packets(this.session);
    return this.packets;
  }

  /** Something stands in front of them: nothing is captured until they are seen again. */
  rest(): void {
    this.packets?.rest();
  }

  close(): void {
    this.wanted = false;
    this.packets?.close();
    this.packets = null;
  }

  /** Shows what passes these interfaces, and nothing else. */
  async at(places: LinkId[]): Promise<void> {
    this.asked++;
    (await this.open())?.at(places);
  }
}

const key = Symbol('watch');
export const provideWatch = (watch: Watch): Watch => setContext(key, watch);
export const useWatch = (): Watch => getContext<Watch>(key);
