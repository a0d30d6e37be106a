import { shownAddresses } from '../snapshot';
import type { LinkId } from '../wire';
import { flow, monoWidth, sansWidth, type Point } from './geometry';
import {
  pad,
  gap,
  nodeItem,
  linkItem,
  chipSize,
  pillSize,
  portItem,
  onEdge,
  type Side,
  type Pin,
  type Drawing,
} from './items';
import { noticesOf, noticeWidth, translationsOf } from './notices';
import type { Item } from './picture';
import type { End, Machine, World } from './world';

export const portRoom = 96; // of a port of a switch, its label included

/** Which way a machine's wire leaves, and whereabouts the other machine stands. */
export type SideOf = (e: End) => { side: Side; x: number };

export const stands = (m: Machine): 'switch' | 'compact' | 'host' => {
  const inner = m.namespaces.length > 0;
  if (m.node.kind === 'switch' && !inner) return 'switch';
  const plain = (m.node.links ?? []).every((l) => l.kind !== 'bridge' && !l.master);
  return isInfrastructure(m) && !inner && plain ? 'compact' : 'host';
};

export const isInfrastructure = (m: Machine): boolean =>
  ['switch', 'router', 'internet'].includes(m.node.kind);

/** A router or the internet: its interfaces in a row over its name. */
export function drawCompact(m: Machine, w: World, sideOf: SideOf): Drawing {
  const rank: Record<Side, number> = { west: 0, north: 1, south: 1, east: 2 };
  const ends = w.ends(m.node);
  const chips = ends.filter((e) => e.link.kind === 'loopback' && shownAddresses(e.link).every(isLocal));
  const pills = ends
    .filter((e) => !chips.includes(e))
    .map((e) => ({ e, ...pillSize(e), side: w.wiredTo(e) === undefined ? null : sideOf(e) }))
    .sort(
      (a, b) =>
        rank[a.side?.side ?? 'north'] - rank[b.side?.side ?? 'north'] || (a.side?.x ?? 0) - (b.side?.x ?? 0),
    );
  const tall = Math.max(0, ...pills.map((p) => p.h));
  const pillsWidth = pills.reduce((sum, p) => sum + p.w + gap, -gap);
  const chipsWidth = chips.reduce((sum, e) => sum + chipSize(e).w + 6, 0);
  const notices = [...noticesOf(m.node), ...translationsOf(m.node, w)];
  const titleWidth = Math.min(200, sansWidth(m.node.id, 17) + 60) + chipsWidth + noticeWidth(notices);
  const card = {
    x: 0,
    y: 0,
    w: Math.max(pillsWidth + 2 * pad, titleWidth + 2 * pad, 170),
    h: (tall ? tall + 16 : 0) + 54,
  };
  const items: Item[] = [nodeItem(m.node, 'compact', card, { x: 46, y: card.h - 21 }, 160, notices)];
  const pins = new Map<LinkId, Pin>();
  let x = (card.w - pillsWidth) / 2;
  for (const p of pills) {
    const box = { x, y: 16 + (tall - p.h) / 2, w: p.w, h: p.h };
    items.push(linkItem(p.e, 'pill', box));
    if (p.side) pins.set(p.e.id, { ...onEdge(box, p.side.side), side: p.side.side });
    x += p.w + gap;
  }
  let right = card.w - pad;
  for (const e of chips) {
    const size = chipSize(e);
    right -= size.w;
    items.push(linkItem(e, 'chip', { x: right, y: card.h - 38, ...size }, size.w - 22));
    right -= 6;
  }
  return { w: card.w, h: card.h, items, cables: [], pins, signs: [], arrows: [] };
}

const isLocal = (address: string): boolean => address.startsWith('127.') || address.startsWith('::1');

/** What every switch has besides its ports: a loopback, and the bridge that is the switch itself. */
function isOrdinary({ link }: End): boolean {
  const bare = shownAddresses(link).every(isLocal);
  if (link.kind === 'loopback') return link.up && bare;
  return link.kind === 'bridge' && link.up && bare && !link.bridge?.stp && !link.bridge?.vlan_filtering;
}

/** A switch: ports on its edges, each towards the machine that it leads to. */
export function drawSwitch(m: Machine, w: World, sideOf: SideOf): Drawing {
  const ends = w.ends(m.node);
  const ports = ends.filter((e) => w.wiredTo(e) !== undefined).map((e) => ({ e, ...sideOf(e) }));
  const along = (side: Side): typeof ports => ports.filter((p) => p.side === side).sort((a, b) => a.x - b.x);
  const [top, bottom] = [along('north'), along('south')];
  const others = ends.filter((e) => w.wiredTo(e) === undefined && !isOrdinary(e));
  const sizes = others.map((e) => chipSize(e));
  const chips = flow(sizes, 1000, 6);
  const width = Math.max(190, top.length * (portRoom + 8), bottom.length * (portRoom + 8), chips.w + 40);
  const box = { x: 0, y: 0, w: width, h: others.length ? 96 : 64 };
  const items: Item[] = [nodeItem(m.node, 'switch', box, { x: width / 2, y: 30 }, width - 40)];
  const pins = new Map<LinkId, Pin>();
  const place = (e: End, at: Point, side: Side): void => {
    const item = portItem(e, at, side === 'south' ? 'south' : 'north', 84);
    if (item.label && (side === 'west' || side === 'east')) {
      item.label.x = side === 'east' ? at.x + 11 : at.x - 11 - monoWidth(item.name, 11);
    }
    items.push(item);
    pins.set(e.id, { ...at, side });
  };
  for (const row of [top, bottom]) {
    row.forEach((p, i) =>
      place(p.e, onEdge({ ...box, x: (width * (i + 0.5)) / row.length, w: 0 }, p.side), p.side),
    );
  }
  for (const side of ['west', 'east'] as const) {
    for (const p of along(side)) place(p.e, onEdge(box, side), side);
  }
  others.forEach((e, i) => {
    const [at, size] = [chips.at[i] as Point, sizes[i] as { w: number; h: number }];
    items.push(linkItem(e, 'chip', { x: (width - chips.w) / 2 + at.x, y: 60, ...size }, size.w - 22));
  });
  return { w: width, h: box.h, items, cables: [], pins, signs: [], arrows: [] };
}
