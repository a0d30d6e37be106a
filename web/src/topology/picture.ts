import type { LinkId, Netdev, Node, NodeId, Snapshot } from '../wire';
import { arrange } from './arrange';
import type { Box, Point } from './geometry';
import type { Notice } from './notices';
import { assemble } from './wires';
import { World } from './world';

/**
 * How an interface is drawn: a pill of its own, a bridge as a wide bar, a port
 * on the edge of what it belongs to, or a small chip.
 */
export type Shape = 'pill' | 'bar' | 'port' | 'chip';

interface Common {
  box: Box;
  level: number;
  position: number;
  siblings: number;
  parent: string | null;
}

export interface NodeItem extends Common {
  type: 'node';
  id: NodeId;
  node: Node;
  look: 'host' | 'compact' | 'switch' | 'netns';
  title: string;
  titleAt: Point;
  titleRoom: number;
  /** The dashed box of a machine's own namespace, and where its name has room. */
  root: { box: Box; label: Point } | null;
  hue: number;
  /** What stands behind the title. */
  notices: Notice[];
}

export interface LinkItem extends Common {
  type: 'link';
  id: LinkId;
  node: Node;
  link: Netdev;
  shape: Shape;
  name: string;
  /** Lines below the name of a pill or a bar; for a port its addresses. */
  lines: string[];
  /** Where a port's name and lines stand, outside its box. */
  label: (Point & { lines: Point }) | null;
}

export type Item = NodeItem | LinkItem;

export interface Cable {
  id: string;
  kind: 'veth' | 'wire' | 'port-of' | 'carried-by' | 'child-of' | 'tunnel';
  points: Point[];
  ends: [LinkId, LinkId];
  up: boolean;
  label: string;
  /** Where the label stands, if it has one. */
  labelAt?: Point;
}

/** What happens to addresses at an interface, beside it. */
export interface Sign {
  id: string;
  kind: 'nat' | 'publish';
  on: LinkId;
  box: Box;
  lines: string[];
}

/** The way from a published port to the namespace that answers there. */
export interface Arrow {
  id: string;
  to: NodeId;
  points: Point[];
}

export interface Picture {
  width: number;
  height: number;
  /** In reading order: each machine, its interfaces, its namespaces with theirs. */
  items: Item[];
  cables: Cable[];
  signs: Sign[];
  arrows: Arrow[];
}

/** The whole picture. The same snapshot always gives the same one. */
export function draw(snapshot: Snapshot): Picture {
  const w = new World(snapshot);
  const rows = arrange(w);
  const picture = assemble(w, rows);
  countSiblings(picture.items);
  return picture;
}

function countSiblings(items: Item[]): void {
  const counts = new Map<string | null, number>();
  for (const i of items) {
    i.position = (counts.get(i.parent) ?? 0) + 1;
    counts.set(i.parent, i.position);
  }
  for (const i of items) i.siblings = counts.get(i.parent) ?? 1;
}
