import type { LinkId } from '../wire';
import type { Changes, Entry } from './journal';
import { placeOf, type Row, type Sighting } from './protocol';

/** What the reader wants to see of the rows that there are. */
export interface View {
  mode: 'journeys' | 'sightings';
  /** Empty: all. */
  protocols: ReadonlySet<string>;
  /** Seen at one of these interfaces. */
  places: ReadonlySet<LinkId> | null;
  /** One journey, what it answers and what answers it. */
  journey: number | null;
}

export const everything: View = { mode: 'journeys', protocols: new Set(), places: null, journey: null };

export type Item =
  /** One line of the list; with `sighting`, that one only. */
  { order: number; row: Row; sighting?: Sighting } | { order: number; gap: number };

/**
 * The items of a view, by their order. It follows the journal step by step, and
 * is always what it would be if it were made anew.
 */
export class Listing {
  items: Item[] = [];

  constructor(
    readonly view: View,
    entries: Entry[],
  ) {
    for (const entry of entries) for (const item of this.#itemsOf(entry)) this.items.push(item);
    if (view.mode === 'journeys') return;
    // A row that is about to be joined to another may still tell of the same sightings.
    this.items.sort((a, b) => a.order - b.order);
    this.items = this.items.filter((item, i) => item.order !== this.items[i - 1]?.order);
  }

  /** How many items came to the end of the list. */
  follow(changes: Changes): number {
    const end = this.items.at(-1)?.order ?? -Infinity;
    for (const entry of changes.added) this.#put(entry);
    for (const { was, now } of changes.replaced) this.#replace(was, now);
    this.#drop(changes.dropped);
    return this.items.length - this.indexOf(end + 1e-6);
  }

  /** Where an item of this order is, or would be. */
  indexOf(order: number): number {
    let [low, high] = [0, this.items.length];
    // Nearly everything happens at the end.
    if (high > 0 && (this.items[high - 1] as Item).order < order) return high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.items[middle] as Item).order < order) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #itemsOf(entry: Entry): Item[] {
    const { mode, protocols, places, journey } = this.view;
    if ('joined' in entry) return [];
    if ('gap' in entry) {
      // What was left out belongs to no protocol and no place.
      if (protocols.size > 0 || places || journey !== null) return [];
      return [{ order: mode === 'journeys' ? entry.order : entry.after, gap: entry.gap }];
    }
    const { row, order } = entry;
    if (protocols.size > 0 && !protocols.has(row.protocol)) return [];
    if (journey !== null && row.id !== journey && row.answers !== journey && row.answered_by !== journey)
      return [];
    const here = (s: Sighting): boolean => !places || places.has(placeOf(s));
    if (mode === 'journeys') return row.sightings.some(here) || !places ? [{ order, row }] : [];
    return row.sightings.filter(here).map((sighting) => ({ order: sighting.no, row, sighting }));
  }

  #put(entry: Entry): void {
    for (const item of this.#itemsOf(entry)) {
      const i = this.indexOf(item.order);
      const there = this.items[i]?.order === item.order ? 1 : 0;
      if (i === this.items.length) this.items.push(item);
      else this.items.splice(i, there, item);
    }
  }

  #replace(was: Entry, now: Entry): void {
    const next = new Set(this.#itemsOf(now).map((i) => i.order));
    for (const item of this.#itemsOf(was)) if (!next.has(item.order)) this.#remove(item);
    this.#put(now);
  }

  #remove(item: Item): void {
    const i = this.indexOf(item.order);
    const there = this.items[i];
    // It may be another row's by now.
    if (there?.order === item.order && idOf(there) === idOf(item)) this.items.splice(i, 1);
  }

  #drop(entries: Entry[]): void {
    const gone = new Set(entries.flatMap((e) => this.#itemsOf(e)).map((i) => i.order));
    if (gone.size > 0) this.items = this.items.filter((i) => !gone.has(i.order));
  }
}

const idOf = (item: Item): number | null => ('row' in item ? item.row.id : null);
