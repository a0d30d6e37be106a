import type { Point } from './geometry';

export interface View {
  x: number;
  y: number;
  k: number;
}

const least = 0.15;
const most = 4;

/** How large a picture is drawn at most in a pane: on a large screen it is seen from farther away. */
const mostIn = (width: number, height: number): number =>
  Math.min(2.4, Math.max(1.35, Math.min(width, 1.6 * height) / 800));

/** The view that shows the whole picture, centred and not blown up. */
export function fitted(picture: { width: number; height: number }, width: number, height: number): View {
  if (!picture.width || !picture.height || !width || !height) return { x: 0, y: 0, k: 1 };
  const k = Math.min(width / picture.width, height / picture.height, mostIn(width, height));
  return { k, x: (width - picture.width * k) / 2, y: (height - picture.height * k) / 2 };
}

/** Zooms by a factor around a point of the pane. */
export function zoomed(v: View, by: number, x: number, y: number): View {
  const k = Math.min(most, Math.max(least, v.k * by));
  return { k, x: x - ((x - v.x) * k) / v.k, y: y - ((y - v.y) * k) / v.k };
}

/** The view after two fingers moved: what was between them stays between them. */
export function pinched(v: View, was: [Point, Point], now: [Point, Point]): View {
  const [before, after] = [was, now].map(([a, b]) => ({
    x: (a.x + b.x) / 2,
    y: (a.y + b.y) / 2,
    apart: Math.hypot(a.x - b.x, a.y - b.y) || 1,
  })) as [Point & { apart: number }, Point & { apart: number }];
  const moved = { ...v, x: v.x + after.x - before.x, y: v.y + after.y - before.y };
  return zoomed(moved, after.apart / before.apart, after.x, after.y);
}

type Drawn = { items: { id: string; box: Point }[] };

/**
 * The view in which what is near the middle of the pane stays where it is,
 * although another picture is drawn: the one after something was added.
 */
export function anchored(v: View, before: Drawn, after: Drawn, middle: Point): View {
  const was = new Map(before.items.map((i) => [i.id, i.box]));
  const away = (p: Point): number => Math.hypot(v.x + p.x * v.k - middle.x, v.y + p.y * v.k - middle.y);
  let found: { from: Point; to: Point; away: number } | null = null;
  for (const { id, box } of after.items) {
    const from = was.get(id);
    if (from && (!found || away(from) < found.away)) found = { from, to: box, away: away(from) };
  }
  if (!found) return v;
  return { ...v, x: v.x + (found.from.x - found.to.x) * v.k, y: v.y + (found.from.y - found.to.y) * v.k };
}

/** Part of the way between two views, gently at its end. */
export function between(a: View, b: View, part: number): View {
  const p = 1 - (1 - part) ** 3;
  return { x: a.x + (b.x - a.x) * p, y: a.y + (b.y - a.y) * p, k: a.k + (b.k - a.k) * p };
}
