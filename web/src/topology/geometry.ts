export interface Point {
  x: number;
  y: number;
}

export interface Box extends Point {
  w: number;
  h: number;
}

export const centre = (b: Box): Point => ({ x: b.x + b.w / 2, y: b.y + b.h / 2 });

export const overlap = (a: Box, b: Box): boolean =>
  a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

export const contains = (a: Box, b: Box): boolean =>
  a.x <= b.x && a.y <= b.y && b.x + b.w <= a.x + a.w && b.y + b.h <= a.y + a.h;

/** An SVG path along the points, its corners rounded. */
export function roundedPath(points: Point[], radius = 10): string {
  const [first, ...rest] = points;
  if (!first) return '';
  let d = `M${first.x},${first.y}`;
  rest.forEach((p, i) => {
    const before = points[i] as Point;
    const after = rest[i + 1];
    if (!after) {
      d += `L${p.x},${p.y}`;
      return;
    }
    const r = Math.min(radius, distance(before, p) / 2, distance(p, after) / 2);
    const from = towards(p, before, r);
    const to = towards(p, after, r);
    d += `L${from.x},${from.y}Q${p.x},${p.y} ${to.x},${to.y}`;
  });
  return d;
}

const distance = (a: Point, b: Point): number => Math.hypot(a.x - b.x, a.y - b.y);

function towards(from: Point, to: Point, length: number): Point {
  const d = distance(from, to) || 1;
  return { x: from.x + ((to.x - from.x) * length) / d, y: from.y + ((to.y - from.y) * length) / d };
}

/** A horizontal stretch between two rows that needs a height of its own. */
export interface Hop {
  x1: number;
  x2: number;
}

/**
 * A lane for each hop, 0 the uppermost: hops that overlap never share one. Of
 * two that lead the same way, the one that begins first lies lower, so that
 * they do not cross.
 */
export function lanes(hops: Hop[]): { lane: number[]; count: number } {
  const order = hops.map((_, i) => i).filter((i) => hops[i]?.x1 !== hops[i]?.x2);
  const rank = (h: Hop): number => (h.x2 > h.x1 ? -h.x1 : h.x1);
  order.sort((a, b) => rank(hops[a] as Hop) - rank(hops[b] as Hop) || a - b);
  const lane = hops.map(() => 0);
  const placed: number[] = [];
  let count = 0;
  for (const i of order) {
    const above = placed.filter((j) => crosses(hops[i] as Hop, hops[j] as Hop)).map((j) => lane[j] as number);
    lane[i] = above.length ? Math.max(...above) + 1 : 0;
    count = Math.max(count, (lane[i] as number) + 1);
    placed.push(i);
  }
  return { lane, count };
}

function crosses(a: Hop, b: Hop): boolean {
  const margin = 8;
  return (
    Math.min(a.x1, a.x2) <= Math.max(b.x1, b.x2) + margin &&
    Math.min(b.x1, b.x2) <= Math.max(a.x1, a.x2) + margin
  );
}

// Widths are estimated, not measured: the layout has to be the same in every
// browser and in a test without one. The fonts are the page's own.
export const monoWidth = (text: string, size = 11): number => wide(text) * size * 0.6;
export const sansWidth = (text: string, size = 14): number => wide(text) * size * 0.6;

/** Length in characters, those of Korean counted as wide as they are. */
function wide(text: string): number {
  let sum = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0xdc00 || code > 0xdfff) sum += code > 0x1100 ? 1.7 : 1; // once for both halves of a pair
  }
  return sum;
}

/** The text, cut with an ellipsis where it is wider than `width`. */
export function cut(text: string, width: number, measure: (text: string) => number): string {
  if (measure(text) <= width) return text;
  const chars = [...text];
  while (chars.length > 1 && measure(chars.join('') + '…') > width) chars.pop();
  return chars.join('') + '…';
}

/** Boxes in rows, left to right, wrapped at `width`. */
export function flow(sizes: { w: number; h: number }[], width: number, space: number) {
  const at: Point[] = [];
  let [x, y, tallest, widest, rows] = [0, 0, 0, 0, sizes.length ? 1 : 0];
  for (const s of sizes) {
    if (x > 0 && x + s.w > width) {
      x = 0;
      y += tallest + space;
      tallest = 0;
      rows++;
    }
    at.push({ x, y });
    x += s.w + space;
    tallest = Math.max(tallest, s.h);
    widest = Math.max(widest, x - space);
  }
  return { at, rows, w: widest, h: sizes.length ? y + tallest : 0 };
}
