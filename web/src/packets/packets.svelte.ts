import { SvelteSet } from 'svelte/reactivity';
import { speech } from '../i18n/index.svelte';
import { refusal } from '../terminal/protocol';
import type { LinkId } from '../wire';
import { Feed, type FeedPlace, type FeedState } from './feed';
import { Journal } from './journal';
import { everything, Listing, type Item, type View } from './listing';
import { socketUrl, type FilterError, type Lost, type Row, type ServerMessage } from './protocol';

/** What hears of rows as they come: `was` is the same row before. */
export type RowListener = (row: Row, was: Row | undefined, newest: number) => void;

const mostWaiting = 5000; // rows
// Nobody reads a list that changes with each frame: where more rows than that come
// between two frames, it waits so many ms, and what moves beside it stays smooth.
const flood = { rows: 8, pause: 200 };

const nothingLost: Lost = { kernel: 0, host: 0, hub: 0, viewer: 0 };

/** The packets of one session while somebody watches them. */
export class Packets {
  state = $state<FeedState>('connecting');
  /** Why it is over. */
  reason = $state<string | null>(null);
  paused = $state(false);
  /** The expression that the server goes by. */
  filter = $state('');
  /** The last expression that it did not take. */
  refused = $state.raw<(FilterError & { filter: string }) | null>(null);
  lost = $state.raw<Lost>(nothingLost);
  snap = $state(0);
  started = $state('');
  view = $state.raw<View>(everything);
  /** Every protocol that was seen, in that order. */
  protocols = $state.raw<string[]>([]);
  /** Items that came to the list's end, for a reader who is elsewhere in it. */
  arrived = $state(0);
  readonly unfolded = new SvelteSet<number>(); // ids

  #version = $state(0); // of what follows, which is not reactive
  readonly #journal = new Journal();
  #listing = new Listing(everything, []);

  #feed: Feed | null = null;
  #seq: number | null = null;
  #asked = ''; // the last filter that was asked for
  #unsaid = false; // because there was no connection
  #waiting: { rows: Row[]; gap: number }[] = []; // for the next frame
  #waitingRows = 0;
  #unseen = { rows: 0, arrived: 0 }; // what the journal has and the list does not show
  #shownAt = -Infinity; // ms
  #later: ReturnType<typeof setTimeout> | undefined;
  readonly #listeners = new Set<RowListener>();

  constructor(
    readonly session: string,
    filter = '',
    private readonly check: () => ReturnType<FeedPlace['check']> = () => mayConnect(session),
    private readonly soon: (draw: () => void) => void = (draw) => void requestAnimationFrame(draw),
  ) {
    this.filter = filter;
    this.connect();
  }

  get items(): Item[] {
    void this.#version;
    return this.#listing.items;
  }
  get dropped(): number {
    void this.#version;
    return this.#journal.dropped;
  }
  get leftOut(): number {
    void this.#version;
    return this.#journal.leftOut;
  }
  row(id: number): Row | undefined {
    void this.#version;
    return this.#journal.get(id);
  }
  indexOf(order: number): number {
    void this.#version;
    return this.#listing.indexOf(order);
  }

  /** The unfolded rows that the view shows, in order. */
  unfoldedItems(): { index: number; row: Row }[] {
    if (this.view.mode === 'sightings') return [];
    const { items } = this;
    const found = [...this.unfolded].flatMap((id) => {
      const order = this.#journal.orderOf(id);
      const index = order === undefined ? -1 : this.#listing.indexOf(order);
      const item = items[index];
      return item && 'row' in item && item.row.id === id ? [{ index, row: item.row }] : [];
    });
    return found.toSorted((a, b) => a.index - b.index);
  }

  /** Begins, or begins again after an end. */
  connect(): void {
    this.#feed?.close();
    this.reason = null;
    this.#feed = new Feed(
      { url: () => socketUrl(this.session, this.filter, this.#seq), check: this.check },
      {
        state: (state) => (this.state = state),
        message: (m) => this.#hear(m),
        refused: (code, detail) => (this.reason = detail ?? code),
      },
    );
  }

  /** What came is kept, and nothing more comes, until `wake`. */
  rest(): void {
    this.#feed?.close();
    this.#feed = null;
  }

  wake(): void {
    if (!this.#feed) this.connect();
  }

  close(): void {
    clearTimeout(this.#later);
    this.rest();
    this.#listeners.clear();
  }

  listen(listener: RowListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  ask(filter: string): void {
    this.refused = null;
    this.#asked = filter;
    this.#unsaid = !this.#feed?.say({ type: 'filter', filter });
  }

  pause(): void {
    this.paused = true;
    this.#feed?.say({ type: 'pause' });
  }

  resume(): void {
    this.paused = false;
    this.#feed?.say({ type: 'resume' });
  }

  clear(): void {
    this.#draw();
    this.#journal.clear();
    this.unfolded.clear();
    this.#show(this.view.journey === null ? this.view : { ...this.view, journey: null });
  }

  look(change: Partial<View>): void {
    this.#show({ ...this.view, ...change });
  }

  only(protocol: string, on: boolean): void {
    const protocols = new Set(this.view.protocols);
    if (on) protocols.add(protocol);
    else protocols.delete(protocol);
    this.look({ protocols });
  }

  at(places: LinkId[] | null): void {
    this.look({ places: places && new Set(places) });
  }

  fold(id: number, open: boolean): void {
    if (open) this.unfolded.add(id);
    else this.unfolded.delete(id);
  }

  #show(view: View): void {
    this.view = view;
    this.#listing = new Listing(view, this.#journal.entries);
    this.reveal();
    this.arrived = 0;
    this.#version++;
  }

  #hear(m: ServerMessage): void {
    switch (m.type) {
      case 'start':
        return this.#begin(m);
      case 'batch':
        this.#seq = m.seq;
        this.lost = m.lost;
        return this.#take(m.rows ?? [], m.gap ?? 0);
      case 'filter-error': {
        const { position, message, suggestion } = m;
        this.refused = { position, message, ...(suggestion && { suggestion }), filter: this.#asked };
        return;
      }
      case 'paused':
        this.paused = true;
        return;
      case 'ended':
        this.reason = m.reason ?? '';
    }
  }

  #begin(m: Extract<ServerMessage, { type: 'start' }>): void {
    this.filter = m.filter;
    this.started = m.started;
    this.snap = m.snap;
    if (!m.resumed) {
      this.#waiting = [];
      this.#waitingRows = 0;
      this.#seq = null;
      this.lost = nothingLost;
      this.#journal.reset();
      this.unfolded.clear();
      this.#show({ ...this.view, journey: null });
    }
    if (this.#unsaid) this.ask(this.#asked);
    if (this.paused) this.#feed?.say({ type: 'pause' });
  }

  /** Many batches may come between two frames; a page that nobody sees has none. */
  #take(rows: Row[], gap: number): void {
    this.#waiting.push({ rows, gap });
    this.#waitingRows += rows.length;
    if (this.#waitingRows > mostWaiting) this.#draw();
    else if (this.#waiting.length === 1) this.soon(() => this.#draw());
  }

  #draw(): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingRows = 0;
    const seen = new Set(this.protocols);
    for (const { rows, gap } of waiting) {
      this.#tell(rows);
      for (const { protocol } of rows) seen.add(protocol);
      const changes = this.#journal.apply(rows, gap);
      for (const e of changes.dropped) if ('row' in e) this.unfolded.delete(e.row.id);
      this.#unseen.rows += rows.length;
      this.#unseen.arrived += this.#listing.follow(changes);
    }
    if (seen.size > this.protocols.length) this.protocols = [...seen];
    const wait = this.#shownAt + flood.pause - performance.now();
    if (this.#unseen.rows <= flood.rows || wait <= 0) this.reveal();
    else this.#later ??= setTimeout(() => this.reveal(), wait);
  }

  /** Has the list show all that came. */
  reveal(): void {
    clearTimeout(this.#later);
    this.#later = undefined;
    this.#shownAt = performance.now();
    if (this.#unseen.rows === 0) return;
    this.arrived += this.#unseen.arrived;
    this.#unseen = { rows: 0, arrived: 0 };
    this.#version++;
  }

  #tell(rows: Row[]): void {
    if (this.#listeners.size === 0) return;
    const newest = rows.reduce((max, r) => Math.max(max, r.sightings.at(-1)?.at ?? r.at), 0);
    for (const row of rows) {
      const was = this.#journal.get(row.id);
      for (const hear of this.#listeners) hear(row, was, newest);
    }
  }
}

/**
 * A page is not told why its websocket was refused, but the same request
 * without one is answered alike.
 */
async function mayConnect(session: string): Promise<true | { code: string; detail?: string } | null> {
  return refusal(socketUrl(session, '', null), speech.language);
}
