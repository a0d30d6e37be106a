import type { LinkId } from '../wire';
import { besides, machineGap, margin, type Placed } from './arrange';
import { lanes, type Box, type Hop, type Point } from './geometry';
import { cable, type Drawing, type Pin } from './items';
import type { Cable, Item, Picture } from './picture';
import { tunnels } from './tunnels';
import type { End, World } from './world';

const wireSpace = 8;

/** A pin of one machine in the coordinates of its row. */
interface Terminal {
  end: End;
  pin: Pin;
  row: number;
  /** The channel (counted from the top, 0 below the first row) into which it opens. */
  channel: number;
}

interface WireHop extends Hop {
  channel: number;
}

export function assemble(w: World, rows: Placed[][]): Picture {
  const terminals = new Map<LinkId, Terminal>();
  for (const p of rows.flat()) {
    p.drawing.pins.forEach((pin, id) => {
      const end = w.end(id);
      if (!end) return;
      const channel = pin.side === 'north' ? p.row - 1 : p.row;
      terminals.set(id, { end, pin: { ...pin, x: pin.x + p.x }, row: p.row, channel });
    });
  }

  // Each wire as the horizontal stretches that it needs in the channels between the rows.
  const gaps = new Gaps();
  const wires: { a: Terminal; b: Terminal; hops: WireHop[] }[] = [];
  for (const [id, a] of terminals) {
    const far = w.far(a.end);
    const b = far && terminals.get(far.id);
    if (!b || (wires.some((one) => one.b.end.id === id) && a.end.link.peer)) continue;
    const level = ['west', 'east'].includes(a.pin.side) && a.row === b.row;
    wires.push({ a, b, hops: level ? [] : stretches(a, b, rows, gaps) });
  }
  const channels = rows.map((_, channel) => {
    const here = wires.flatMap((one) => one.hops.filter((h) => h.channel === channel));
    const { lane, count } = lanes(here);
    return { here, lane, count };
  });

  // Now the heights are known.
  const tops: number[] = [];
  const lowered = rows.map(rises);
  const heights = rows.map((row, i) => Math.max(...row.map((p, k) => p.drawing.h + (lowered[i]?.[k] ?? 0))));
  let y = margin;
  rows.forEach((row, i) => {
    tops[i] = y;
    y += heights[i] as number;
    const { count, here } = channels[i] as (typeof channels)[0];
    y += here.length ? 62 + 12 * Math.max(0, count - 1) : i < rows.length - 1 ? 62 : 0;
    row.forEach((p, k) => translate(p.drawing, p.x, (tops[i] as number) + (lowered[i]?.[k] ?? 0)));
  });
  const laneY = (h: WireHop): number => {
    const c = channels[h.channel] as (typeof channels)[0];
    const bottom = (tops[h.channel] as number) + (heights[h.channel] as number);
    return bottom + 26 + 12 * (c.lane[c.here.indexOf(h)] ?? 0);
  };
  const at = (t: Terminal): Pin => {
    const p = (rows[t.row] as Placed[]).find((one) => one.drawing.pins.has(t.end.id)) as Placed;
    return p.drawing.pins.get(t.end.id) as Pin;
  };

  const cables = rows.flat().flatMap((p) => p.drawing.cables);
  for (const { a, b, hops } of wires) {
    const [first, last] = [at(a), at(b)];
    const points: Point[] = [...(first.from ? [first.from] : []), first];
    for (const h of hops) {
      if (h.x1 === h.x2) continue;
      const level = laneY(h);
      points.push({ x: h.x1, y: level }, { x: h.x2, y: level });
    }
    points.push(last, ...(last.from ? [last.from] : []));
    cables.push(cable('wire', a.end, b.end, points));
  }
  // Machines read in the lab's order, wherever they stand.
  const order = new Map(w.machines.map((m, i) => [m.node.id, i]));
  const placeOf = (p: Placed): number => order.get(p.machine.node.id) ?? 0;
  const items = rows
    .flat()
    .toSorted((a, b) => placeOf(a) - placeOf(b))
    .flatMap((p) => p.drawing.items);
  cables.push(...drawTunnels(w, items));
  const drawings = rows.flat().map((p) => p.drawing);
  const signs = drawings.flatMap((d) => d.signs);
  const arrows = drawings.flatMap((d) => d.arrows);
  const right = Math.max(0, ...rows.flat().map((p) => p.x + p.drawing.w));

  return { width: right + margin + besides(rows), height: y + margin, items, cables, signs, arrows };
}

/** How far each drawing of a row is lowered, so that all stand level, and wires between neighbours are. */
function rises(row: Placed[]): number[] {
  const levels = row.map(
    (p) => [...p.drawing.pins.values()].find((pin) => pin.side === 'west' || pin.side === 'east')?.y,
  );
  const lowest = Math.max(0, ...levels.map((l) => l ?? 0));
  return levels.map((l, i) => (row[i]?.down ?? 0) + (l === undefined ? 0 : lowest - l));
}

function stretches(a: Terminal, b: Terminal, rows: Placed[][], gaps: Gaps): WireHop[] {
  const [from, to] = a.channel <= b.channel ? [a, b] : [b, a];
  const hops: WireHop[] = [];
  let x = from.pin.x;
  for (let channel = from.channel; channel < to.channel; channel++) {
    const through = gaps.take(rows[channel + 1] ?? [], x);
    hops.push({ channel, x1: x, x2: through });
    x = through;
  }
  hops.push({ channel: to.channel, x1: x, x2: to.pin.x });
  if (from === a) return hops;
  return hops.reverse().map((h) => ({ channel: h.channel, x1: h.x2, x2: h.x1 }));
}

/** The spaces beside the machines of a row, through which wires of rows above run side by side. */
class Gaps {
  readonly #used = new Map<number, number>();

  /** A place in the space that is next to x. */
  take(row: Placed[], x: number): number {
    const middles = row.map((p) => p.x + p.drawing.w + machineGap / 2);
    if (row[0]) middles.unshift(row[0].x - machineGap / 2);
    const [first, ...rest] = middles;
    if (first === undefined) return x;
    const middle = rest.reduce((best, m) => (Math.abs(m - x) < Math.abs(best - x) ? m : best), first);
    const n = this.#used.get(middle) ?? 0;
    this.#used.set(middle, n + 1);
    const off = (n % 2 ? 1 : -1) * Math.ceil(n / 2) * wireSpace;
    return middle + Math.max(-machineGap / 2 + 6, Math.min(machineGap / 2 - 6, off));
  }
}

function translate(d: Drawing, dx: number, dy: number): void {
  const move = (p: Point): void => {
    p.x += dx;
    p.y += dy;
  };
  for (const i of d.items) {
    move(i.box);
    if (i.type === 'node') {
      move(i.titleAt);
      if (i.root) {
        move(i.root.box);
        move(i.root.label);
      }
    } else if (i.label) {
      move(i.label);
      move(i.label.lines);
    }
  }
  for (const way of [...d.cables, ...d.arrows]) way.points.forEach(move);
  d.signs.forEach((s) => move(s.box));
  d.pins.forEach((pin) => {
    move(pin);
    if (pin.from) move(pin.from);
  });
}

/** The middle of the way, or of the space between two machines that is next to it: a label covers nothing there. */
function between(items: Item[], from: Point, to: Point): number {
  const middle = (from.x + to.x) / 2;
  const [top, bottom] = [Math.min(from.y, to.y), Math.max(from.y, to.y)];
  const passed = items
    .flatMap((i) => (i.type === 'node' && i.level === 1 ? [i.box] : []))
    .filter((b) => b.y <= bottom && b.y + b.h >= top)
    .toSorted((p, q) => p.x - q.x);
  const spaces = passed.slice(1).flatMap((b, i) => {
    const a = passed[i] as Box;
    const x = (a.x + a.w + b.x) / 2;
    return x > from.x && x < to.x ? [x] : [];
  });
  return spaces.toSorted((p, q) => Math.abs(p - middle) - Math.abs(q - middle))[0] ?? middle;
}

function drawTunnels(w: World, items: Item[]): Cable[] {
  const all = tunnels(w);
  if (!all.length) return [];
  const boxes = new Map(items.map((i) => [i.id, i.box]));
  return all.flatMap(({ a, b, label }) => {
    const [p, q] = [boxes.get(a.id), boxes.get(b.id)];
    if (!p || !q) return [];
    const [l, r] = p.x <= q.x ? [p, q] : [q, p];
    const from = { x: l.x + l.w, y: l.y + l.h / 2 };
    const to = { x: r.x, y: r.y + r.h / 2 };
    const turn = between(items, from, to);
    const points = from.y === to.y ? [from, to] : [from, { x: turn, y: from.y }, { x: turn, y: to.y }, to];
    return [{ ...cable('tunnel', a, b, points), label, labelAt: { x: turn, y: (from.y + to.y) / 2 } }];
  });
}
