import { netnsOf } from '../snapshot';
import type { LinkId, Node, NodeId } from '../wire';
import { cut, flow, monoWidth, sansWidth, type Box, type Point } from './geometry';
import { chipSize, column, gap, labelRoom, linkItem, nodeItem, portItem, portLines } from './items';
import type { Item } from './picture';
import type { End, World } from './world';

export const isVeth = (e: End): boolean => e.link.kind === 'veth';

/** Which interfaces of a namespace have their cable leaving at the bottom edge. */
const leaves = (e: End, w: World): boolean => {
  const other = isVeth(e) ? w.far(e) : w.lower(e);
  return other !== undefined && other.node.id !== e.node.id;
};

interface Container {
  node: Node;
  ports: End[];
  chips: End[];
  w: number;
  h: number;
}

/** Namespaces side by side; many in rows, then each cable goes down in a lane of its own. */
export interface Grid {
  rows: Container[][];
  w: number;
  h: number;
  draw: (x: number, y: number) => Drawn;
}
interface Drawn {
  items: Item[];
  /** Where each cable leaves its namespace. */
  sky: Map<LinkId, Point>;
  boxes: Map<NodeId, Box>;
}

const atMostBeside = 8;
const rowGap = 36;

export function gridOf(namespaces: Node[], w: World, laneOf: (e: End) => number): Grid {
  const beside = sideBySide(namespaces.map((n) => measure(n, w, false)));
  if (namespaces.length <= atMostBeside) return beside;
  const rows = inRows(
    namespaces.map((n) => measure(n, w, true)),
    laneOf,
  );
  return rows.w < beside.w * 0.8 ? rows : beside;
}

function measure(node: Node, w: World, inLanes: boolean): Container {
  const ends = w.ends(node);
  const ports = ends.filter((e) => leaves(e, w));
  const chips = ends.filter((e) => !leaves(e, w));
  const chipsWidth = chips.reduce((sum, e) => sum + chipSize(e).w + 6, 0);
  const width = Math.max(
    150,
    inLanes ? 0 : ports.length * column,
    Math.min(3 * column, titleRoom(node) + chipsWidth + 8),
  );
  const each = ports.map((e) => portLines(e.link).length);
  const lines = inLanes ? each.reduce((a, b) => a + b, 0) : Math.max(0, ...each);
  const chipRows = flow(
    chips.map((e) => chipSize(e)),
    width - 28,
    6,
  ).rows;
  // Chips stand beside the title where they fit in the same line.
  const beside = titleRoom(node) + chipsWidth <= width - 8;
  return {
    node,
    ports,
    chips,
    w: width,
    h: Math.max(62, 36 + (beside ? 0 : chipRows * 28) + lines * 16 + 12),
  };
}

const titleRoom = (n: Node): number => Math.min(220, sansWidth(netnsOf(n.id)) + 28);

function sideBySide(row: Container[]): Grid {
  const h = Math.max(0, ...row.map((c) => c.h));
  const width = row.reduce((sum, c) => sum + c.w + gap, -gap);
  const draw = (left: number, y: number): Drawn => {
    const out: Drawn = { items: [], sky: new Map(), boxes: new Map() };
    let x = left;
    for (const c of row) {
      drawBox(out, c, { x, y, w: c.w, h });
      drawPorts(out, c, { x, y, w: c.w, h });
      x += c.w + gap;
    }
    return out;
  };
  return { rows: row.length ? [row] : [], w: width, h, draw };
}

/** The higher a namespace stands in its column the wider it is, so that its cables fall beside those below. */
function inRows(all: Container[], laneOf: (e: End) => number): Grid {
  const columns = Math.max(5, Math.ceil(Math.sqrt(all.length * 1.2)));
  const rows: Container[][] = [];
  for (let i = 0; i < all.length; i += columns) rows.push(all.slice(i, i + columns));
  const heights = rows.map((row) => Math.max(...row.map((c) => c.h)));
  const cells = Array.from({ length: columns }, (_, at) => {
    const cells = rows.flatMap((row) => row[at] ?? []).reverse(); // the lowest first
    const base = Math.max(...cells.map((c) => c.w));
    let reach = base;
    const placed = cells.map((c, depth) => {
      const central = depth === 0 && c.ports.length < 2;
      const lanes = (central ? [] : c.ports).map((e) => {
        const middle = reach + laneOf(e) / 2;
        reach += laneOf(e);
        return middle;
      });
      return { c, w: reach, lanes };
    });
    return { placed: new Map(placed.map((p) => [p.c, p])), w: reach };
  });
  const width = cells.reduce((sum, c) => sum + c.w + gap, -gap);
  const height = heights.reduce((sum, h) => sum + h + rowGap, -rowGap);

  const draw = (left: number, top: number): Drawn => {
    const out: Drawn = { items: [], sky: new Map(), boxes: new Map() };
    let y = top;
    rows.forEach((row, r) => {
      let x = left;
      row.forEach((c, k) => {
        const cell = cells[k] as (typeof cells)[0];
        const p = cell.placed.get(c) as { w: number; lanes: number[] };
        const box = { x, y, w: p.w, h: heights[r] as number };
        drawBox(out, c, box);
        if (p.lanes.length) drawLanes(out, c, box, p.lanes);
        else drawPorts(out, c, box);
        x += cell.w + gap;
      });
      y += (heights[r] as number) + rowGap;
    });
    return out;
  };
  return { rows, w: width, h: height, draw };
}

/** The box of a namespace with its name and the interfaces that lead nowhere. */
function drawBox(out: Drawn, c: Container, box: Box): void {
  const { x, y, w } = box;
  const chipsWidth = c.chips.reduce((sum, e) => sum + chipSize(e).w + 6, 0);
  const title = titleRoom(c.node);
  const beside = title + chipsWidth <= w - 8;
  const item = nodeItem(c.node, 'netns', box, { x: x + 14, y: y + 25 }, beside ? title - 24 : w - 28);
  item.titleRoom = beside ? w - chipsWidth - 30 : w - 28;
  out.items.push(item);
  out.boxes.set(c.node.id, box);
  const sizes = c.chips.map((e) => chipSize(e));
  const placed = beside ? flow(sizes, chipsWidth + 1, 6) : flow(sizes, w - 28, 6);
  const origin = beside ? { x: x + w - 8 - chipsWidth, y: y + 9 } : { x: x + 14, y: y + 38 };
  c.chips.forEach((e, i) => {
    const at = placed.at[i] as Point;
    const size = sizes[i] as { w: number; h: number };
    out.items.push(linkItem(e, 'chip', { x: origin.x + at.x, y: origin.y + at.y, ...size }, size.w - 22));
  });
}

/** The ports of a namespace that has nothing below it, each over its own part of the edge. */
function drawPorts(out: Drawn, c: Container, box: Box): void {
  const cell = box.w / Math.max(1, c.ports.length);
  const bottom = box.y + box.h;
  c.ports.forEach((e, i) => {
    const x = box.x + cell * (i + 0.5);
    const port = portItem(e, { x, y: bottom }, 'south', Math.min(labelRoom, cell - 34));
    const lines = portLines(e.link).map((l) => cut(l, cell - 22, monoWidth));
    const left = c.ports.length === 1 ? box.x + 14 : x - Math.max(0, ...lines.map((l) => monoWidth(l))) / 2;
    port.lines = lines;
    if (port.label) port.label.lines = { x: left, y: bottom - 12 - 16 * (lines.length - 1) };
    out.items.push(port);
    out.sky.set(e.id, { x, y: bottom });
  });
}

/** The ports of a namespace in a column: each in its lane, its name on the side that is free. */
function drawLanes(out: Drawn, c: Container, box: Box, lanes: number[]): void {
  const bottom = box.y + box.h;
  let low = bottom - 12;
  c.ports.toReversed().forEach((e, k) => {
    const i = c.ports.length - 1 - k;
    const x = box.x + (lanes[i] as number);
    const before = i > 0 ? box.x + (lanes[i - 1] as number) : box.x;
    const port = portItem(e, { x, y: bottom }, 'south', x - before - 20);
    const lines = portLines(e.link).map((l) => cut(l, box.w - 28, monoWidth));
    port.lines = lines;
    low -= 16 * (lines.length - 1);
    if (port.label) {
      port.label.x = x - 11 - monoWidth(port.name, 11);
      port.label.lines = { x: box.x + 14, y: low };
    }
    low -= 16;
    out.items.push(port);
    out.sky.set(e.id, { x, y: bottom });
  });
}
