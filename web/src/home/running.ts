// What runs along the demo's cables, in a chunk of its own: the first picture does not wait for it.
import { Feed } from '../packets/feed';
import { everything } from '../packets/listing';
import type { RowListener } from '../packets/packets.svelte';
import type { Row, ServerMessage } from '../packets/protocol';
import CableReach from '../packets/CableReach.svelte';
import Traffic from '../packets/Traffic.svelte';
import type { Passing } from '../packets/watch.svelte';

export const parts = { CableReach, Traffic };

const keptRows = 200;
// Enough to follow; what IPv6 says to itself would cover it.
const filter = 'arp or icmp';

/** The demo's packets as they come; nobody keeps a list of them. */
export class Running implements Passing {
  readonly view = everything;
  readonly #rows = new Map<number, Row>();
  readonly #listeners = new Set<RowListener>();
  readonly #feed: Feed;

  constructor(url: string) {
    this.#feed = new Feed(
      { url: () => `${url}?${String(new URLSearchParams({ filter }))}`, check: () => Promise.resolve(true) },
      {
        state: () => undefined,
        message: (m) => this.#hear(m),
        refused: () => undefined,
      },
    );
  }

  listen(listener: RowListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#feed.close();
  }

  #hear(m: ServerMessage): void {
    if (m.type === 'start') this.#rows.clear();
    if (m.type !== 'batch') return;
    const rows = m.rows ?? [];
    const newest = rows.reduce((max, r) => Math.max(max, r.sightings.at(-1)?.at ?? r.at), 0);
    for (const row of rows) {
      const was = this.#rows.get(row.id);
      for (const hear of this.#listeners) hear(row, was, newest);
      this.#rows.delete(row.id);
      this.#rows.set(row.id, row);
    }
    for (const id of this.#rows.keys()) {
      if (this.#rows.size <= keptRows) break;
      this.#rows.delete(id);
    }
  }
}
