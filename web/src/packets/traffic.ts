import type { Point } from '../topology/geometry';
import type { Cable } from '../topology/picture';
import type { LinkId } from '../wire';
import { placeOf, type Row, type Sighting } from './protocol';

/** A packet on its way along one cable, in ms of the page's clock. */
export interface Move {
  key: number;
  cable: Cable;
  back: boolean;
  protocol: string;
  from: number;
  until: number;
}

/** Where a packet was seen last before it was lost. */
export interface Cross {
  key: number;
  place: LinkId;
  from: number;
  until: number;
}

/** When a journey's dots arrive where it was seen, by the number of the sighting. */
interface Arrivals {
  at: Map<number, number>;
  last: number;
}

const runs = 520; // ms that a packet takes along a cable, which is long enough to be followed
const crossed = 5000;
const glows = 700;
const atOnce = 60;
const lookBack = 16; // sightings
const stale = 1e6; // µs: what is older than the newest by more than that is shown in the list only

/**
 * What moves in the picture. A packet passes its cables one after the other,
 * much slower than it did; where there are too many, cables only glow.
 */
export class Traffic {
  moves: Move[] = [];
  crosses: Cross[] = [];
  glows = new Map<string, number>(); // until when, by the cable's id
  #cables = new Map<string, { cable: Cable; back: boolean }>();
  #arrivals = new Map<number, Arrivals>(); // by the journey
  #next = 0;

  constructor(private readonly still = false) {}

  draw(cables: Cable[]): void {
    this.#cables.clear();
    for (const cable of cables) {
      const [a, b] = cable.ends;
      this.#cables.set(`${a} ${b}`, { cable, back: false });
      this.#cables.set(`${b} ${a}`, { cable, back: true });
    }
    const there = new Map(cables.map((c) => [c.id, c]));
    this.moves = this.moves.flatMap((m) => {
      const cable = there.get(m.cable.id);
      return cable ? [{ ...m, cable }] : [];
    });
  }

  hear(row: Row, was: Row | undefined, newest: number, now: number): void {
    const { sightings } = row;
    const known = new Set(was?.sightings.map((s) => s.no));
    const begins = this.#arrivals.get(row.answers ?? -1)?.last ?? now;
    const arrivals = this.#arrivals.get(row.id) ?? { at: new Map<number, number>(), last: begins };
    for (const [i, to] of sightings.entries()) {
      if (i === 0 || known.has(to.no) || newest - to.at > stale) continue;
      const from = this.#from(sightings, i);
      const found = this.#cables.get(`${placeOf(from)} ${placeOf(to)}`);
      const starts = Math.max(now, arrivals.at.get(from.no) ?? begins);
      const arrives = found ? this.#move(row.protocol, found, starts, now) : starts;
      arrivals.at.set(to.no, arrives);
      arrivals.last = Math.max(arrivals.last, arrives);
    }
    if (arrivals.last > now) this.#arrivals.set(row.id, arrivals);
    const last = sightings.at(-1);
    if (row.state === 'gone' && was && was.state !== 'gone' && last) {
      const from = Math.max(now, arrivals.last);
      this.crosses.push({ key: this.#next++, place: placeOf(last), from, until: from + crossed });
      if (this.crosses.length > atOnce) this.crosses.shift();
    }
  }

  /** Forgets what is over; false when nothing is left to be shown. */
  tidy(now: number): boolean {
    this.moves = this.moves.filter((m) => m.until > now);
    this.crosses = this.crosses.filter((c) => c.until > now);
    for (const [id, until] of this.glows) if (until <= now) this.glows.delete(id);
    for (const [id, { last }] of this.#arrivals) if (last <= now) this.#arrivals.delete(id);
    return this.moves.length + this.crosses.length + this.glows.size > 0;
  }

  /** Where it came from: a bridge may have sent it to several ports in between. */
  #from(all: Sighting[], i: number): Sighting {
    const to = all[i] as Sighting;
    if (to.after !== undefined) return all.find((s) => s.no === to.after) ?? to;
    for (let j = i - 1; j >= 0 && j >= i - lookBack; j--) {
      const from = all[j] as Sighting;
      if (this.#cables.has(`${placeOf(from)} ${placeOf(to)}`)) return from;
    }
    return all[i - 1] as Sighting;
  }

  /** When it arrives. */
  #move(protocol: string, way: { cable: Cable; back: boolean }, from: number, now: number): number {
    if (this.still || this.moves.length >= atOnce) {
      this.glows.set(way.cable.id, now + glows);
      return from;
    }
    this.moves.push({ key: this.#next++, ...way, protocol, from, until: from + runs });
    return from + runs;
  }
}

/** Where a move is now; null if it has not begun or is over. */
export function placeAt(m: Move, now: number): Point | null {
  if (now < m.from || now >= m.until) return null;
  const t = (now - m.from) / (m.until - m.from);
  return along(m.cable.points, m.back ? 1 - t : t);
}

/** The point of a line at this part of its length. */
export function along(points: Point[], part: number): Point {
  const lengths = points.slice(1).map((p, i) => {
    const before = points[i] as Point;
    return Math.hypot(p.x - before.x, p.y - before.y);
  });
  let left = part * lengths.reduce((a, b) => a + b, 0);
  for (const [i, length] of lengths.entries()) {
    const [a, b] = [points[i] as Point, points[i + 1] as Point];
    if (left <= length) {
      const t = length > 0 ? left / length : 0;
      return { x: a.x + (b.x - a.x) * t, y: a.y + (b.y - a.y) * t };
    }
    left -= length;
  }
  return points.at(-1) ?? { x: 0, y: 0 };
}

/** A line without so much of its first and its last stretch. */
export function inner(points: Point[], by: number): Point[] {
  const [first, second] = [points[0], points[1]];
  const [last, before] = [points.at(-1), points.at(-2)];
  if (!first || !second || !last || !before) return points;
  return [towards(first, second, by), ...points.slice(1, -1), towards(last, before, by)];
}

function towards(from: Point, to: Point, by: number): Point {
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  const part = length > 0 ? Math.min(by / length, 0.4) : 0;
  return { x: from.x + (to.x - from.x) * part, y: from.y + (to.y - from.y) * part };
}
