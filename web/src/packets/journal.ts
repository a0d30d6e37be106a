import type { Row } from './protocol';

/** A row of the list at its place, or a place where updates were left out. */
export type Entry =
  | { order: number; row: Row }
  /** `after` lies between the numbers of the sightings before it and after it. */
  | { order: number; gap: number; after: number }
  /** A row was here that has become part of another one. */
  | { order: number; joined: true };

export interface Changes {
  added: Entry[];
  replaced: { was: Entry; now: Entry }[];
  dropped: Entry[];
}

export interface Bounds {
  rows: number;
  sightings: number;
}

/**
 * The rows that the page keeps, in the order in which they came. A row is
 * replaced where it stands; of too many, the oldest are dropped and counted.
 */
export class Journal {
  entries: Entry[] = [];
  dropped = 0;
  /** Updates that the server left out, all gaps together. */
  leftOut = 0;
  #next = 0; // order of the next entry; those of `entries` have no holes
  #orders = new Map<number, number>(); // by the id of a row
  #sightings = 0;
  #floor = 0; // rows up to this id were dropped or cleared: an update does not bring them back
  #highest = 0; // id
  #lastNo = 0; // of a sighting
  #lastGap = -1; // its order

  constructor(private readonly bounds: Bounds = { rows: 50_000, sightings: 200_000 }) {}

  get(id: number): Row | undefined {
    const order = this.#orders.get(id);
    const entry = order === undefined ? undefined : this.entries[order - this.#first];
    return entry && 'row' in entry ? entry.row : undefined;
  }

  orderOf(id: number): number | undefined {
    return this.#orders.get(id);
  }

  apply(rows: Row[], gap: number): Changes {
    const changes: Changes = { added: [], replaced: [], dropped: [] };
    if (gap > 0) this.#gap(gap, changes);
    for (const row of rows) this.#put(row, changes);
    this.#bound(changes);
    return changes;
  }

  /** Empties the list for the reader. */
  clear(): void {
    this.#floor = this.#highest;
    this.#empty();
  }

  /** Begins anew, as the server does. */
  reset(): void {
    this.#floor = this.#highest = this.#lastNo = 0;
    this.#empty();
  }

  get #first(): number {
    return this.#next - this.entries.length;
  }

  #empty(): void {
    this.entries = [];
    this.#orders.clear();
    this.#sightings = this.dropped = this.leftOut = 0;
    this.#lastGap = -1;
  }

  #put(row: Row, changes: Changes): void {
    if (row.id <= this.#floor) return;
    this.#highest = Math.max(this.#highest, row.id);
    this.#lastNo = Math.max(this.#lastNo, row.sightings.at(-1)?.no ?? 0);
    const order = this.#orders.get(row.id);
    if (row.into !== undefined) {
      this.#orders.delete(row.id);
      if (order !== undefined) this.#replace({ order, joined: true }, changes);
      return;
    }
    if (order !== undefined) {
      this.#replace({ order, row }, changes);
      return;
    }
    this.#orders.set(row.id, this.#next);
    this.#sightings += row.sightings.length;
    this.#add({ order: this.#next, row }, changes);
  }

  #gap(gap: number, changes: Changes): void {
    this.leftOut += gap;
    const after = this.#lastNo + 0.5;
    const last = this.entries.at(-1);
    const before = this.entries[this.#lastGap - this.#first];
    const grown =
      last && 'gap' in last ? last : before && 'gap' in before && before.after === after ? before : null;
    if (grown) {
      this.#replace({ ...grown, gap: grown.gap + gap }, changes);
      return;
    }
    this.#lastGap = this.#next;
    this.#add({ order: this.#next, gap, after }, changes);
  }

  #add(entry: Entry, changes: Changes): void {
    this.entries.push(entry);
    this.#next++;
    changes.added.push(entry);
  }

  #replace(now: Entry, changes: Changes): void {
    const i = now.order - this.#first;
    const was = this.entries[i] as Entry;
    this.#sightings += sightingsOf(now) - sightingsOf(was);
    this.entries[i] = now;
    changes.replaced.push({ was, now });
  }

  #bound(changes: Changes): void {
    let n = 0;
    let sightings = this.#sightings;
    while (this.entries.length - n > this.bounds.rows || sightings > this.bounds.sightings) {
      const entry = this.entries[n++] as Entry;
      if (!('row' in entry)) continue;
      sightings -= sightingsOf(entry);
      this.#orders.delete(entry.row.id);
      this.#floor = Math.max(this.#floor, entry.row.id);
      this.dropped++;
    }
    this.#sightings = sightings;
    if (n > 0) changes.dropped = this.entries.splice(0, n);
  }
}

const sightingsOf = (e: Entry): number => ('row' in e ? e.row.sightings.length : 0);
