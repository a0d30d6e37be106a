import type { LinkId } from '../wire';
import { cable, gap, linkItem, pillGap, pillSize } from './items';
import { lanes, type Box } from './geometry';
import type { Cable, Item } from './picture';
import type { End } from './world';

/** An interface with all that rests on it: what is carried stands over what carries it. */
export interface Stack {
  end: End;
  size: { w: number; h: number };
  over: Stack[];
  /** How far it reaches to both sides of its middle, the signs beside it included. */
  left: number;
  right: number;
}

/** The interfaces as stacks, in their order. `below` says what carries one. */
export function stacked(
  ends: End[],
  below: (e: End) => End | undefined,
  beside: (e: End) => { left: number; right: number },
): Stack[] {
  const known = new Map(ends.map((e) => [e.id, e]));
  const carrier = (e: End): End | undefined => {
    const under = below(e);
    return under && known.get(under.id);
  };
  const rests = new Map<LinkId, End[]>();
  const roots: End[] = [];
  for (const e of ends) {
    const under = carrier(e);
    if (under && !circular(e, carrier)) rests.set(under.id, [...(rests.get(under.id) ?? []), e]);
    else roots.push(e);
  }
  const build = (end: End): Stack => {
    const over = (rests.get(end.id) ?? []).map(build);
    const half = rowWidth(over) / 2;
    const size = pillSize(end);
    const signs = beside(end);
    const reach = (sign: number): number => Math.max(size.w / 2 + sign, half);
    return { end, size, over, left: reach(signs.left), right: reach(signs.right) };
  };
  return roots.map(build);
}

function circular(e: End, carrier: (e: End) => End | undefined): boolean {
  const seen = new Set<LinkId>([e.id]);
  for (let at = carrier(e); at; at = carrier(at)) {
    if (seen.has(at.id)) return true;
    seen.add(at.id);
  }
  return false;
}

export const rowWidth = (row: Stack[]): number =>
  row.reduce((sum, s) => sum + s.left + s.right + gap, row.length ? -gap : 0);

/** The height of each level, the lowest first. */
function levels(row: Stack[], depth = 0, out: number[] = []): number[] {
  for (const s of row) {
    out[depth] = Math.max(out[depth] ?? 0, s.size.h);
    levels(s.over, depth + 1, out);
  }
  return out;
}

export function stacksHeight(row: Stack[]): number {
  const all = levels(row);
  return all.reduce((sum, h) => sum + h + pillGap, all.length ? -pillGap : 0);
}

/** The lines from what one interface carries down to it, side by side. */
function carried(s: Stack, boxes: Map<LinkId, Box>, box: Box): Cable[] {
  const n = s.over.length;
  const apart = Math.min(16, (box.w - 48) / Math.max(1, n - 1));
  const ways = s.over.map(({ end }, i) => {
    const top = boxes.get(end.id) as Box;
    const to = box.x + box.w / 2 + (i - (n - 1) / 2) * apart;
    return { end, from: { x: top.x + top.w / 2, y: top.y + top.h }, to };
  });
  const turns = lanes(ways.map(({ from, to }) => ({ x1: from.x, x2: to })));
  return ways.map(({ end, from, to }, i) => {
    const y = from.y + ((box.y - from.y) * ((turns.lane[i] ?? 0) + 1)) / (turns.count + 1);
    const straight = Math.abs(from.x - to) < 0.5;
    const turn = straight
      ? []
      : [
          { x: from.x, y },
          { x: to, y },
        ];
    return cable('carried-by', end, s.end, [from, ...turn, { x: to, y: box.y }]);
  });
}

/** Where each interface stands, with `left` and `bottom` those of the whole row. */
export function placeStacks(
  row: Stack[],
  left: number,
  bottom: number,
): { items: Item[]; cables: Cable[]; boxes: Map<LinkId, Box> } {
  const heights = levels(row);
  const items: Item[] = [];
  const cables: Cable[] = [];
  const boxes = new Map<LinkId, Box>();
  const place = (stacks: Stack[], from: number, low: number, depth: number): void => {
    let x = from;
    for (const s of stacks) {
      const middle = x + s.left;
      const box = { x: middle - s.size.w / 2, y: low - s.size.h, ...s.size };
      place(s.over, middle - rowWidth(s.over) / 2, low - (heights[depth] as number) - pillGap, depth + 1);
      cables.push(...carried(s, boxes, box));
      items.push(linkItem(s.end, 'pill', box));
      boxes.set(s.end.id, box);
      x += s.left + s.right + gap;
    }
  };
  place(row, left, bottom, 0);
  return { items, cables, boxes };
}
