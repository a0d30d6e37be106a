import type { Key } from '../i18n/index.svelte';
import { machineOf, netnsOf, splitLink } from '../snapshot';
import type { Box, Point } from '../topology/geometry';
import type { Item } from '../topology/picture';
import type { LinkId, NodeId, Snapshot } from '../wire';
import { findLink, isWire } from './actions';
import { isNameless } from './commands';
import type { Plug } from './forms';

/** What letting go of a cable would do. */
export type Landing =
  | { does: 'cable'; from: Plug; to: Plug }
  | { does: 'attach'; link: LinkId; bridge: string }
  | { does: 'move'; link: LinkId; to: NodeId }
  | { does: 'nothing'; why: Key | null };

const nothing = (why: Key | null): Landing => ({ does: 'nothing', why });

export const isBridge = (i: Item): boolean => i.type === 'link' && i.link.kind === 'bridge';

/** An interface that itself is taken by the hand: it is plugged or moved, and no new cable is laid. */
export const isLoose = (i: Item): boolean =>
  i.type === 'link' && i.link.kind !== 'bridge' && i.link.kind !== 'loopback';

/** Whether anything can be built at a node at all. */
export const isGround = (i: Item): boolean => {
  const machine = i.type === 'node' ? i.node : undefined;
  return machine?.kind !== 'switch' && !isNameless(i.node.id);
};

export const plugOf = (i: Item): Plug =>
  i.type === 'link' && isBridge(i) ? { node: i.node.id, bridge: i.link.name } : { node: i.node.id };

/** What happens when what was taken at one item is let go over another. */
export function landing(s: Snapshot, from: Item, to: Item): Landing {
  if (to.id === from.id) return nothing(null);
  if (machineOf(to.node.id) !== machineOf(from.node.id)) return nothing('build.no.machine');
  if (to.node.kind === 'switch' || from.node.kind === 'switch') return nothing('build.no.switch');
  if (isNameless(to.node.id) || isNameless(from.node.id)) return nothing('build.no.nameless');
  if (!isLoose(from)) {
    // A bridge and the namespace around it are one place.
    const [a, b] = [plugOf(from), plugOf(to)];
    if (a.node === b.node && a.bridge === undefined && b.bridge === undefined) return nothing(null);
    return { does: 'cable', from: a, to: b };
  }
  const link = findLink(s, from.id);
  if (!link) return nothing(null);
  if (isBridge(to) && to.node.id === from.node.id) {
    const { name } = splitLink(to.id);
    return link.master === name ? nothing('build.no.port') : { does: 'attach', link: from.id, bridge: name };
  }
  if (to.node.id === from.node.id) return nothing(null);
  const taken = (to.node.links ?? []).some((l) => l.name === link.name);
  if (taken) return nothing('build.no.name');
  if (isWire(from.id, link) && netnsOf(to.node.id) === '') return nothing('build.no.machine');
  return { does: 'move', link: from.id, to: to.node.id };
}

const holds = (b: Box, p: Point, by: number): boolean =>
  p.x >= b.x - by && p.x <= b.x + b.w + by && p.y >= b.y - by && p.y <= b.y + b.h + by;

/** The innermost thing at a point; interfaces are caught from a little beside them. */
export function itemAt(items: Item[], p: Point, catching = 8): Item | undefined {
  let found: Item | undefined;
  for (const i of items) {
    if (holds(i.box, p, i.type === 'link' ? catching : 0) && (!found || i.level >= found.level)) found = i;
  }
  return found;
}

/** Where a cable is plugged into a thing: on its edge, next to where it comes from. */
export function socketOf(b: Box, from: Point): Point {
  const x = Math.min(b.x + b.w - 12, Math.max(b.x + 12, from.x));
  const y = Math.min(b.y + b.h - 12, Math.max(b.y + 12, from.y));
  const middle = { x: b.x + b.w / 2, y: b.y + b.h / 2 };
  if (Math.abs(from.y - middle.y) / b.h >= Math.abs(from.x - middle.x) / b.w)
    return { x: b.w < 24 ? middle.x : x, y: from.y < middle.y ? b.y : b.y + b.h };
  return { x: from.x < middle.x ? b.x : b.x + b.w, y: b.h < 24 ? middle.y : y };
}

/** A cable that hangs between two points. */
export function hanging(a: Point, b: Point): string {
  const sag = Math.min(60, Math.hypot(a.x - b.x, a.y - b.y) / 4);
  const low = Math.max(a.y, b.y) + sag;
  return `M${a.x},${a.y}C${a.x + (b.x - a.x) / 4},${low} ${b.x - (b.x - a.x) / 4},${low} ${b.x},${b.y}`;
}
