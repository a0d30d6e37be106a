import { kindText, linkState, netnsOf, shownAddresses } from '../snapshot';
import type { LinkId, Netdev, Node } from '../wire';
import { cut, monoWidth, sansWidth, type Box, type Point } from './geometry';
import type { Notice } from './notices';
import type { Arrow, Cable, Item, LinkItem, NodeItem, Shape, Sign } from './picture';
import type { End } from './world';

// What every part of the picture is made of, and its measures.

export const pad = 18;
export const gap = 22;
export const head = 54;
export const column = 136; // of one cable, its label included
export const labelRoom = column - 34;
export const slim = 130; // a pill in a column
export const pillGap = 30;
export const machineGap = 72;
export const wireSpace = 8;
const portSize = 14;
export const leastInner = 316;
export const legendWidth = 118;

export type Side = 'north' | 'south' | 'west' | 'east';
export interface Pin extends Point {
  side: Side;
  /** Where the wire begins, if that is further inside the machine. */
  from?: Point;
}

/** One machine drawn at the origin. */
export interface Drawing {
  w: number;
  h: number;
  items: Item[];
  cables: Cable[];
  /** Where wires to other machines leave. */
  pins: Map<LinkId, Pin>;
  signs: Sign[];
  arrows: Arrow[];
}

export const nodeItem = (
  node: Node,
  look: NodeItem['look'],
  box: Box,
  titleAt: Point,
  width: number,
  notices: Notice[] = [],
): NodeItem => ({
  type: 'node',
  id: node.id,
  node,
  look,
  box,
  title: cut(netnsOf(node.id) || node.id, width, sansWidth),
  titleAt,
  titleRoom: width,
  root: null,
  hue: hueOf(netnsOf(node.id)),
  notices,
  level: netnsOf(node.id) ? 2 : 1,
  position: 0,
  siblings: 0,
  parent: netnsOf(node.id) ? (node.id.split('/', 1)[0] ?? null) : null,
});

export function linkItem(e: End, shape: Shape, box: Box, width = box.w - 44): LinkItem {
  const lines = shape === 'pill' || shape === 'bar' ? linesOf(e.link) : [];
  return {
    type: 'link',
    id: e.id,
    node: e.node,
    link: e.link,
    shape,
    box,
    name: cut(e.link.name, width, shape === 'pill' || shape === 'bar' ? sansWidth : (s) => monoWidth(s, 11)),
    lines: lines.map((l) => cut(l, box.w - 10, monoWidth)),
    label: null,
    level: netnsOf(e.node.id) ? 3 : 2,
    position: 0,
    siblings: 0,
    parent: e.node.id,
  };
}

export function addressLines(l: Netdev): string[] {
  const all = shownAddresses(l);
  return all.length > 2 ? [all[0] as string, `+${all.length - 1}`] : all;
}

/** The lines of a port, inside of what it belongs to. */
export const portLines = (l: Netdev): string[] => [...addressLines(l), ...(l.mode ? [kindText(l)] : [])];

export function linesOf(l: Netdev): string[] {
  const facts: string[] = l.mode ? [kindText(l)] : [];
  if (l.vxlan) facts.push(`VNI ${l.vxlan.vni} · UDP ${l.vxlan.port}`);
  if (l.tunnel?.remote) facts.push(`${l.kind} → ${l.tunnel.remote}`);
  if (l.kind !== 'loopback' && l.mtu !== 1500 && l.mtu > 0) facts.push(`MTU ${l.mtu}`);
  return [...addressLines(l), ...facts];
}

export function pillSize(e: End, most = 190): { w: number; h: number } {
  const lines = linesOf(e.link);
  const w = Math.max(sansWidth(e.link.name) + 44, ...lines.map((l) => monoWidth(l) + 30), 104);
  return { w: Math.min(most, Math.round(w)), h: lines.length < 2 ? 46 : 32 + 14 * lines.length };
}

export const chipSize = (e: End): { w: number; h: number } => ({
  w: Math.min(118, Math.round(monoWidth(e.link.name, 11) + 28)),
  h: 22,
});

/** A port centred on an edge; its name stands outside, to the right of the cable. */
export function portItem(e: End, at: Point, side: 'north' | 'south', labelWidth: number): LinkItem {
  const box = { x: at.x - portSize / 2, y: at.y - portSize / 2, w: portSize, h: portSize };
  const item = linkItem(e, 'port', box, labelWidth);
  const y = at.y + (side === 'south' ? 20 : -12);
  item.lines = [];
  item.label = { x: at.x + 11, y, lines: { x: at.x + 11, y } };
  return item;
}

const cableUp = (a: End, b: End): boolean => linkState(a.link) === 'up' && linkState(b.link) === 'up';

/** A cable with points of its own, which can be moved without moving others. */
export const cable = (kind: Cable['kind'], a: End, b: End, points: Point[]): Cable => ({
  id: `${kind} ${a.id} ${b.id}`,
  kind,
  points: points.map(({ x, y }) => ({ x, y })),
  ends: [a.id, b.id],
  up: cableUp(a, b),
  label: '',
});

/** Straight down where both lie on one vertical, else with a step in the middle. */
export const drop = (a: Point, b: Point): Point[] => {
  if (Math.abs(a.x - b.x) < 0.5) return [a, b];
  const middle = (a.y + b.y) / 2;
  return [a, { x: a.x, y: middle }, { x: b.x, y: middle }, b];
};

export function onEdge(b: Box, side: Side): Point {
  if (side === 'west') return { x: b.x, y: b.y + b.h / 2 };
  if (side === 'east') return { x: b.x + b.w, y: b.y + b.h / 2 };
  return { x: b.x + b.w / 2, y: side === 'north' ? b.y : b.y + b.h };
}

/** Names of colours are what they say; other namespaces take turns by their name's letters. */
function hueOf(name: string): number {
  const named: Record<string, number> = {
    red: 2,
    blue: 217,
    green: 140,
    yellow: 52,
    orange: 28,
    purple: 275,
    pink: 330,
  };
  const turns = [205, 28, 150, 275, 340, 52, 180, 95];
  const sum = [...name].reduce((n, c) => n + (c.codePointAt(0) ?? 0), 0);
  return named[name] ?? (turns[sum % turns.length] as number);
}
