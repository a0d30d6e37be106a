// Where the panes of the lab page are: a tree of splits whose leaves are stacks
// of panes. Every pane stays in the tree while it is hidden, so that it comes
// back to where it was. All of this is pure.

export const paneIds = ['lesson', 'topology', 'packets', 'terminal', 'probe', 'command', 'inspect'] as const;
export type PaneId = (typeof paneIds)[number];

/** Panes that share a place; the one in front is seen, if it is not hidden. */
export interface Stack {
  panes: PaneId[];
  front: PaneId;
}
/** Parts beside each other (row) or above each other (column), by their shares of the room. */
export interface Split {
  flow: 'row' | 'column';
  parts: Part[];
}
export interface Part {
  share: number;
  tree: Tree;
}
export type Tree = Stack | Split;

export interface Layout {
  tree: Tree;
  hidden: PaneId[];
}

export type Side = 'left' | 'right' | 'top' | 'bottom';
export const sides: Side[] = ['left', 'right', 'top', 'bottom'];

const isStack = (t: Tree): t is Stack => 'panes' in t;

export const stack = (...panes: [PaneId, ...PaneId[]]): Stack => ({ panes, front: panes[0] });
export const split = (flow: Split['flow'], ...parts: [share: number, tree: Tree][]): Split => ({
  flow,
  parts: parts.map(([share, tree]) => ({ share, tree })),
});

/** All stacks, in reading order. */
export function stacks(t: Tree): Stack[] {
  return isStack(t) ? [t] : t.parts.flatMap((p) => stacks(p.tree));
}

export const stackOf = (l: Layout, pane: PaneId): Stack | undefined =>
  stacks(l.tree).find((s) => s.panes.includes(pane));

/** Those of a stack that are not hidden. */
export const shownOf = (l: Layout, s: Stack): PaneId[] => s.panes.filter((p) => !l.hidden.includes(p));

const change = (t: Tree, of: (s: Stack) => Tree): Tree =>
  isStack(t) ? of(t) : { ...t, parts: t.parts.map((p) => ({ ...p, tree: change(p.tree, of) })) };

/** Brings a pane to the front of its stack, and back if it was hidden. */
export function show(l: Layout, pane: PaneId): Layout {
  return {
    tree: change(l.tree, (s) => (s.panes.includes(pane) ? { ...s, front: pane } : s)),
    hidden: l.hidden.filter((p) => p !== pane),
  };
}

/** Hides a pane; what stood beside it in its stack comes to the front. The last one in sight stays. */
export function hide(l: Layout, pane: PaneId): Layout {
  const hidden = [...l.hidden.filter((p) => p !== pane), pane];
  if (stacks(l.tree).every((s) => shownOf({ ...l, hidden }, s).length === 0)) return l;
  const next = (s: Stack): PaneId | undefined => {
    const at = s.panes.indexOf(pane);
    const rest = (ps: PaneId[]): PaneId | undefined => ps.find((p) => !hidden.includes(p));
    return rest(s.panes.slice(at + 1)) ?? rest(s.panes.slice(0, at).reverse());
  };
  return { tree: change(l.tree, (s) => (s.front === pane ? { ...s, front: next(s) ?? pane } : s)), hidden };
}

/** Two panes change places. */
export function swap(l: Layout, a: PaneId, b: PaneId): Layout {
  const other = (p: PaneId): PaneId => (p === a ? b : p === b ? a : p);
  return { ...l, tree: change(l.tree, (s) => ({ panes: s.panes.map(other), front: other(s.front) })) };
}

/** Takes a pane into the stack of another one, in front of it. */
export function join(l: Layout, pane: PaneId, target: PaneId): Layout {
  if (stackOf(l, pane) === stackOf(l, target)) return show(l, pane);
  const rest = without(l.tree, pane);
  const into = (s: Stack): Stack =>
    s.panes.includes(target) ? { panes: [...s.panes, pane], front: pane } : s;
  return rest ? show({ ...l, tree: change(rest, into) }, pane) : l;
}

/** Gives a pane a place of its own: at a side of another pane's stack, or of the whole page. */
export function part(l: Layout, pane: PaneId, side: Side, target: PaneId | null): Layout {
  const rest = without(l.tree, pane);
  if (!rest || (target === pane && stackOf(l, pane)?.panes.length === 1)) return l;
  const beside = target === pane ? stackOf(l, pane)?.panes.find((p) => p !== pane) : target;
  const flow = side === 'left' || side === 'right' ? 'row' : 'column';
  const first = side === 'left' || side === 'top';
  const at = (t: Tree, share: number): Split => {
    const two = [
      { share, tree: stack(pane) as Tree },
      { share: 1 - share, tree: t },
    ];
    return { flow, parts: first ? two : two.reverse() };
  };
  const tree = beside ? change(rest, (s) => (s.panes.includes(beside) ? at(s, 0.5) : s)) : at(rest, 1 / 3);
  return show({ ...l, tree: tidy(tree) }, pane);
}

function without(t: Tree, pane: PaneId): Tree | null {
  if (isStack(t)) {
    const panes = t.panes.filter((p) => p !== pane);
    const [first] = panes;
    return first ? { panes, front: t.front === pane ? first : t.front } : null;
  }
  const parts = t.parts.flatMap((p) => {
    const tree = without(p.tree, pane);
    return tree ? [{ ...p, tree }] : [];
  });
  return parts.length > 0 ? tidy({ ...t, parts }) : null;
}

/** A split of one part is that part, and a row in a row is one row. */
function tidy(t: Tree): Tree {
  if (isStack(t)) return t;
  const whole = sum(t.parts.map((p) => p.share));
  const parts = t.parts.flatMap((p) => {
    const tree = tidy(p.tree);
    const share = p.share / whole;
    if (isStack(tree) || tree.flow !== t.flow) return [{ share, tree }];
    const inner = sum(tree.parts.map((q) => q.share));
    return tree.parts.map((q) => ({ ...q, share: (share * q.share) / inner }));
  });
  const [only] = parts;
  return parts.length === 1 && only ? only.tree : { ...t, parts };
}

// ---- from the tree to rectangles

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}
export interface Placed {
  panes: PaneId[];
  front: PaneId;
  box: Box;
}
/** The line between two parts of a split. */
export interface Separator {
  /** The split, by the parts that lead to it. */
  path: number[];
  parts: [before: number, after: number];
  flow: Split['flow'];
  /** The points that the split's parts have; 0 for those that are hidden. */
  sizes: number[];
  /** The first part's points: now, at least, at most. */
  at: number;
  least: number;
  most: number;
  box: Box;
}

export const thickness = 1;

export type Least = (pane: PaneId) => { width: number; height: number };

/** What is where in a room of this size: it fills the room without gap or overlap. */
export function arrange(l: Layout, room: Box, least: Least): { stacks: Placed[]; separators: Separator[] } {
  const out = { stacks: [] as Placed[], separators: [] as Separator[] };
  place(l.tree, room, []);
  return out;

  function leastOf(t: Tree): { width: number; height: number } | null {
    const all = isStack(t) ? shownOf(l, t).map(least) : t.parts.flatMap((p) => leastOf(p.tree) ?? []);
    if (all.length === 0) return null;
    const [widths, heights] = [all.map((s) => s.width), all.map((s) => s.height)];
    const lines = (all.length - 1) * thickness;
    const flow = isStack(t) ? null : t.flow;
    return {
      width: flow === 'row' ? sum(widths) + lines : Math.max(...widths),
      height: flow === 'column' ? sum(heights) + lines : Math.max(...heights),
    };
  }

  function place(t: Tree, box: Box, path: number[]): void {
    if (isStack(t)) {
      const panes = shownOf(l, t);
      const [first] = panes;
      if (first) out.stacks.push({ panes, front: panes.includes(t.front) ? t.front : first, box });
      return;
    }
    const along = t.flow === 'row' ? 'width' : 'height';
    const shown = t.parts.flatMap((p, i) => {
      const needs = leastOf(p.tree);
      return needs ? [{ i, ...p, least: needs[along] }] : [];
    });
    const total = box[along] - thickness * (shown.length - 1);
    const sizes = distribute(total, shown);
    let from = t.flow === 'row' ? box.x : box.y;
    const cut = (size: number): Box => {
      const piece = t.flow === 'row' ? { ...box, x: from, width: size } : { ...box, y: from, height: size };
      from += size;
      return piece;
    };
    shown.forEach((p, n) => {
      const size = sizes[n] ?? 0;
      const next = shown[n + 1];
      const nextSize = sizes[n + 1] ?? 0;
      place(p.tree, cut(size), [...path, p.i]);
      if (!next) return;
      const all = t.parts.map((_, i) => sizes[shown.findIndex((s) => s.i === i)] ?? 0);
      out.separators.push({
        path,
        parts: [p.i, next.i],
        flow: t.flow,
        sizes: all,
        at: size,
        least: Math.min(size, p.least),
        most: Math.max(size, size + nextSize - next.least),
        box: cut(thickness),
      });
    });
  }
}

/**
 * Whole points by share, nobody below its least while there is room for all
 * leasts; else in proportion to them.
 */
export function distribute(total: number, parts: { share: number; least: number }[]): number[] {
  const leasts = sum(parts.map((p) => p.least));
  if (leasts >= total) return rounded(parts.map((p) => (leasts > 0 ? (p.least * total) / leasts : 0)));
  const held = new Set<number>(); // at their least
  for (;;) {
    const free = parts.filter((_, i) => !held.has(i));
    const room = total - sum(parts.filter((_, i) => held.has(i)).map((p) => p.least));
    const whole = sum(free.map((p) => p.share));
    const size = (p: { share: number }): number =>
      whole > 0 ? (room * p.share) / whole : room / free.length;
    const small = parts.findIndex((p, i) => !held.has(i) && size(p) < p.least);
    if (small < 0) return rounded(parts.map((p, i) => (held.has(i) ? p.least : size(p))));
    held.add(small);
  }
}

/** Rounds the places between them, so that the sum stays. */
function rounded(sizes: number[]): number[] {
  let [to, from] = [0, 0];
  return sizes.map((size) => {
    to += size;
    const whole = Math.round(to) - from;
    from += whole;
    return whole;
  });
}

/** Moves a separator so that the part before it has so many points. */
export function resize(l: Layout, s: Separator, to: number): Layout {
  const size = Math.min(s.most, Math.max(s.least, to));
  const [before, after] = s.parts;
  const sizes = s.sizes.map((old, i) => (i === before ? size : i === after ? old + s.at - size : old));
  const divide = (t: Tree, path: number[]): Tree => {
    if (isStack(t)) return t;
    const [next, ...rest] = path;
    if (next !== undefined)
      return { ...t, parts: t.parts.map((p, i) => (i === next ? { ...p, tree: divide(p.tree, rest) } : p)) };
    // What is hidden keeps its share.
    const seen = (i: number): boolean => (s.sizes[i] ?? 0) > 0;
    const whole = sum(t.parts.filter((_, i) => seen(i)).map((p) => p.share));
    const points = sum(sizes);
    const share = (p: Part, i: number): number =>
      seen(i) && points > 0 ? ((sizes[i] ?? 0) / points) * whole : p.share;
    return { ...t, parts: t.parts.map((p, i) => ({ ...p, share: share(p, i) })) };
  };
  return { ...l, tree: divide(l.tree, s.path) };
}

const sum = (ns: number[]): number => ns.reduce((a, b) => a + b, 0);

// ---- from what was kept

/** Reads a kept layout; null for what is none. Panes that it does not know yet stand where `home` has them. */
export function parse(text: string | null, home: Layout): Layout | null {
  try {
    const was: unknown = JSON.parse(text ?? 'null');
    if (typeof was !== 'object' || was === null || !('tree' in was) || !('hidden' in was)) return null;
    const seen = new Set<PaneId>();
    const tree = read(was.tree, seen);
    if (!tree || !Array.isArray(was.hidden)) return null;
    const hidden = was.hidden.filter(isPane);
    return adopt({ tree: tidy(tree), hidden }, home, seen);
  } catch {
    return null;
  }
}

function read(was: unknown, seen: Set<PaneId>): Tree | null {
  if (typeof was !== 'object' || was === null) return null;
  if ('panes' in was && Array.isArray(was.panes)) {
    const panes = was.panes.filter(isPane).filter((p) => !seen.has(p) && seen.add(p));
    const [first] = panes;
    if (!first) return null;
    const front = 'front' in was && isPane(was.front) && panes.includes(was.front) ? was.front : first;
    return { panes, front };
  }
  if (!('parts' in was) || !Array.isArray(was.parts) || !('flow' in was)) return null;
  const parts = was.parts.flatMap((p: unknown) => {
    if (typeof p !== 'object' || p === null || !('tree' in p) || !('share' in p)) return [];
    const tree = read(p.tree, seen);
    return tree && typeof p.share === 'number' && p.share > 0 ? [{ share: p.share, tree }] : [];
  });
  if (parts.length === 0) return null;
  return { flow: was.flow === 'row' ? 'row' : 'column', parts };
}

function adopt(l: Layout, home: Layout, known: Set<PaneId>): Layout {
  return paneIds
    .filter((p) => !known.has(p))
    .reduce((now, p) => {
      const mates = stackOf(home, p)?.panes ?? [];
      const mate = mates.find((m) => known.has(m)) ?? stacks(now.tree).at(-1)?.front;
      const into = (s: Stack): Stack =>
        mate && s.panes.includes(mate) ? { ...s, panes: [...s.panes, p] } : s;
      const hidden = home.hidden.includes(p) ? [...now.hidden, p] : now.hidden;
      return { tree: change(now.tree, into), hidden };
    }, l);
}

const isPane = (p: unknown): p is PaneId => paneIds.some((one) => one === p);
