import { monoWidth, sansWidth, type Box, type Point } from '../topology/geometry';
import { noticeWidth } from '../topology/notices';
import type { Item, LinkItem, NodeItem, Picture } from '../topology/picture';

/** Where the plug of a thing sits, and the button that opens its menu. */
export interface Handles {
  plug: Point;
  more: Point;
}

/** What of a machine is its own namespace, or the whole of anything else. */
export const bodyOf = (i: Item): Box => (i.type === 'node' && i.root ? i.root.box : i.box);

/** Places on and beside a thing for two round handles of this radius, where they cover nothing that is drawn. */
export function handlesOf(i: Item, p: Picture, r: number, plugged = true): Handles {
  const drawn = obstacles(p, i, r);
  const hidden = (at: Point): number =>
    drawn.reduce((sum, b) => sum + Math.max(0, r + 1 - distance(at, b)), 0);
  let best: { handles: Handles; cost: number } | undefined;
  for (const handles of places(i, r)) {
    const cost = (plugged ? hidden(handles.plug) : 0) + hidden(handles.more);
    if (!best || cost < best.cost) best = { handles, cost };
    if (cost === 0) break;
  }
  return (best as { handles: Handles }).handles;
}

/** The places in the order in which they are liked. */
function places(i: Item, r: number): Handles[] {
  const b = bodyOf(i);
  const [left, right, top, bottom] = [b.x, b.x + b.w, b.y, b.y + b.h];
  const middle = b.y + b.h / 2;
  const step = r * 2.4;
  const row = (x: number, y: number): Handles => ({ plug: { x, y }, more: { x: x - step, y } });
  const column = (x: number, y: number): Handles => ({ plug: { x, y }, more: { x, y: y - step } });
  const edges = {
    top: [row(right - 22, top), row(left + 22 + step, top)],
    bottom: [row(right - 22, bottom), row(left + 22 + step, bottom)],
    sides: [column(right, bottom - r - 4), column(left, bottom - r - 4), column(right, top + step + r + 4)],
  };
  const beyond = [
    row(right - r, bottom + r + 3),
    row(left + r + step, bottom + r + 3),
    row(right - r, top - r - 3),
    column(right + r + 3, middle + step / 2),
    column(left - r - 3, middle + step / 2),
  ];
  if (i.type === 'node')
    return i.level > 1
      ? [...edges.bottom, ...edges.sides, ...beyond, ...edges.top]
      : [...edges.top, ...edges.sides, ...edges.bottom, ...beyond];
  if (i.shape === 'bar') return [...edges.top, ...edges.bottom, ...edges.sides, ...beyond];
  if (i.shape !== 'port')
    return [
      { plug: { x: right, y: middle }, more: { x: left, y: middle } },
      { plug: { x: right, y: middle }, more: { x: right + step, y: middle } },
      { plug: { x: left, y: middle }, more: { x: left - step, y: middle } },
      row(right - 14, top),
      row(right - 14, bottom),
      ...beyond,
    ];
  // Outside of the edge on which a port sits, beside its cable, one over the other.
  const away = i.label && i.label.y < middle ? -1 : 1;
  const beside = (x: number): Handles[] =>
    [away, -away].map((to) => ({
      plug: { x, y: middle + to * r * 1.7 },
      more: { x, y: middle + to * r * 4.1 },
    }));
  const centre = b.x + b.w / 2;
  const inside = middle - away * (b.h / 2 + r + 2);
  const outside = middle + away * r * 1.7;
  return [
    ...beside(left - r * 1.2),
    ...beside(right + r * 1.2),
    row(left - r * 1.2, outside),
    row(right + r * 1.2 + step, outside),
    { plug: { x: centre, y: inside }, more: { x: centre - step, y: inside } },
    { plug: { x: centre, y: inside }, more: { x: centre + step, y: inside } },
    { plug: { x: centre, y: inside }, more: { x: centre, y: inside - away * step } },
    // Where others stand close by: beyond their names.
    {
      plug: { x: left - r * 1.2, y: middle + away * r * 4.1 },
      more: { x: left - r * 1.2, y: middle + away * r * 6.5 },
    },
    ...beyond,
  ];
}

/** All that handles of a thing shall leave in sight. A plug is caught beside itself, too, and a cable shall stay to be clicked. */
function obstacles(p: Picture, of: Item, r: number): Box[] {
  const out: Box[] = [];
  for (const i of p.items) {
    if (i.type === 'node') {
      // Machines are the ground on which all stands.
      if (i.look === 'netns' && i.id !== of.id && i.id !== of.parent) out.push(i.box);
      out.push(...writingOf(i));
    } else {
      // A bar has room beside what is written in it.
      if (i.id !== of.id && i.shape !== 'bar') out.push(i.box);
      out.push(...writingIn(i));
    }
  }
  out.push(...p.signs.map((s) => s.box));
  for (const way of [...p.cables, ...p.arrows]) {
    way.points.slice(1).forEach((b, k) => {
      const a = way.points[k] as Point;
      out.push({
        x: Math.min(a.x, b.x) - r / 2,
        y: Math.min(a.y, b.y) - r / 2,
        w: Math.abs(a.x - b.x) + r,
        h: Math.abs(a.y - b.y) + r,
      });
    });
  }
  return out;
}

/** What is written at the head of a machine or a container. */
function writingOf(n: NodeItem): Box[] {
  const large = n.look !== 'netns';
  const w = sansWidth(n.title, large ? 17 : 14) + noticeWidth(n.notices);
  const title = { x: n.titleAt.x - (large ? 30 : 0), y: n.titleAt.y - 16, w: w + (large ? 30 : 0), h: 20 };
  return n.root ? [title, { x: n.root.label.x, y: n.root.label.y - 11, w: 100, h: 14 }] : [title];
}

/** What is written in an interface, or beside it. */
export function writingIn(l: LinkItem): Box[] {
  const line = (x: number, y: number, w: number): Box => ({ x, y: y - 9, w, h: 12 });
  if (l.label)
    return [
      line(l.label.x, l.label.y, monoWidth(l.name)),
      ...l.lines.map((text, k) =>
        line(l.label?.lines.x ?? 0, (l.label?.lines.y ?? 0) + 16 * k, monoWidth(text)),
      ),
    ];
  if (l.shape === 'chip') return [l.box];
  const middle = l.box.x + l.box.w / 2;
  const w = Math.max(sansWidth(l.name) + 26, ...l.lines.map((text) => monoWidth(text)));
  const h = l.lines.length ? 18 + 14 * l.lines.length : 16;
  return [{ x: middle - w / 2, y: l.box.y + (l.box.h - h) / 2, w, h }];
}

const distance = (p: Point, b: Box): number =>
  Math.hypot(Math.max(b.x - p.x, 0, p.x - b.x - b.w), Math.max(b.y - p.y, 0, p.y - b.y - b.h));
