import { netnsOf } from '../snapshot';
import type { LinkId, Node } from '../wire';
import { cut, flow, monoWidth, sansWidth, type Point } from './geometry';
import { addressLines, chipSize, column, labelRoom, linkItem, nodeItem, portItem } from './items';
import type { Item } from './picture';
import type { End, World } from './world';

export const isVeth = (e: End): boolean => e.link.kind === 'veth';

/** Which interfaces of a namespace have their cable leaving at the bottom edge. */
const leaves = (e: End, w: World): boolean => {
  const far = w.far(e);
  return isVeth(e) && far !== undefined && far.node.id !== e.node.id;
};

export interface Container {
  node: Node;
  ports: End[];
  chips: End[];
  w: number;
  h: number;
}

export function measureContainer(node: Node, w: World): Container {
  const ends = w.ends(node);
  const ports = ends.filter((e) => leaves(e, w));
  const chips = ends.filter((e) => !leaves(e, w));
  const chipsWidth = chips.reduce((sum, e) => sum + chipSize(e).w + 6, 0);
  const title = Math.min(220, sansWidth(netnsOf(node.id)) + 28);
  const width = Math.max(150, ports.length * column, Math.min(3 * column, title + chipsWidth + 8));
  const lines = Math.max(0, ...ports.map((e) => addressLines(e.link).length));
  const chipRows = flow(
    chips.map((e) => chipSize(e)),
    width - 28,
    6,
  ).rows;
  // Chips stand beside the title where they fit in the same line.
  const beside = title + chipsWidth <= width - 8;
  return {
    node,
    ports,
    chips,
    w: width,
    h: Math.max(62, 36 + (beside ? 0 : chipRows * 28) + lines * 16 + 12),
  };
}

export function drawContainer(
  c: Container,
  x: number,
  y: number,
  h: number,
): { items: Item[]; ports: Map<LinkId, Point> } {
  const box = { x, y, w: c.w, h };
  const chipsWidth = c.chips.reduce((sum, e) => sum + chipSize(e).w + 6, 0);
  const title = Math.min(220, sansWidth(netnsOf(c.node.id)) + 28);
  const beside = title + chipsWidth <= c.w - 8;
  const items: Item[] = [
    nodeItem(c.node, 'netns', box, { x: x + 14, y: y + 25 }, beside ? title - 24 : c.w - 28),
  ];
  const sizes = c.chips.map((e) => chipSize(e));
  const placed = beside ? flow(sizes, chipsWidth + 1, 6) : flow(sizes, c.w - 28, 6);
  const origin = beside ? { x: x + c.w - 8 - chipsWidth, y: y + 9 } : { x: x + 14, y: y + 38 };
  c.chips.forEach((e, i) => {
    const at = placed.at[i] as Point;
    const size = sizes[i] as { w: number; h: number };
    items.push(linkItem(e, 'chip', { x: origin.x + at.x, y: origin.y + at.y, ...size }, size.w - 22));
  });
  const ports = new Map<LinkId, Point>();
  const cell = c.w / Math.max(1, c.ports.length);
  c.ports.forEach((e, i) => {
    const px = x + cell * (i + 0.5);
    const port = portItem(e, { x: px, y: y + h }, 'south', labelRoom);
    const lines = addressLines(e.link).map((l) => cut(l, cell - 22, monoWidth));
    const left = c.ports.length === 1 ? x + 14 : px - Math.max(0, ...lines.map((l) => monoWidth(l))) / 2;
    port.lines = lines;
    if (port.label) port.label.lines = { x: left, y: y + h - 12 - 16 * (lines.length - 1) };
    items.push(port);
    ports.set(e.id, { x: px, y: y + h });
  });
  return { items, ports };
}
