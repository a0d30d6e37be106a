import type { Box, PaneId, Placed, Side } from './tree';

/** What is done with a pane that is let go of here, and the room that it gets. */
export type Drop = { box: Box } & (
  { what: 'swap' | 'join'; target: PaneId } | { what: 'part'; side: Side; target: PaneId | null }
);

export const headHeight = 34;
const rim = 16; // of the page
const border = 0.24; // of a pane

/** Over a head it joins the stack, near a border it takes a part of the room, in the middle it changes places. */
export function dropAt(pane: PaneId, stacks: Placed[], room: Box, x: number, y: number): Drop | null {
  if (!within(room, x, y)) return null;
  const outer = nearest(room, x, y, rim / room.width, rim / room.height);
  if (outer) return { what: 'part', side: outer, target: null, box: portion(room, outer, 1 / 3) };
  const over = stacks.find((s) => within(s.box, x, y));
  if (!over) return null;
  const own = over.panes.includes(pane);
  const { front: target, box } = over;
  if (y < box.y + headHeight)
    return own ? null : { what: 'join', target, box: { ...box, height: headHeight } };
  const side = nearest(box, x, y, border, border);
  if (side && !(own && over.panes.length === 1))
    return { what: 'part', side, target, box: portion(box, side, 1 / 2) };
  return own ? null : { what: 'swap', target, box };
}

const within = (b: Box, x: number, y: number): boolean =>
  x >= b.x && x < b.x + b.width && y >= b.y && y < b.y + b.height;

/** The side that is nearest, where it is nearer than these parts of the box. */
function nearest(b: Box, x: number, y: number, across: number, down: number): Side | null {
  const [left, top] = [(x - b.x) / b.width, (y - b.y) / b.height];
  const far: [Side, number][] = [
    ['left', left / across],
    ['right', (1 - left) / across],
    ['top', top / down],
    ['bottom', (1 - top) / down],
  ];
  const [side, way] = far.reduce((a, c) => (c[1] < a[1] ? c : a));
  return way < 1 ? side : null;
}

function portion(b: Box, side: Side, share: number): Box {
  const [width, height] = [b.width * share, b.height * share];
  switch (side) {
    case 'left':
      return { ...b, width };
    case 'right':
      return { ...b, x: b.x + b.width - width, width };
    case 'top':
      return { ...b, height };
    case 'bottom':
      return { ...b, y: b.y + b.height - height, height };
  }
}
