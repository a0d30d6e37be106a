import { linkState, netnsOf, shownAddresses } from '../snapshot';
import type { LinkId, Netdev, Node, NodeId, Snapshot } from '../wire';
import { cut, lanes, monoWidth, sansWidth, type Box, type Hop, type Point } from './geometry';
import { tunnels, underlay } from './tunnels';
import { World, type End, type Machine } from './world';

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
  /** The dashed box of a machine's own namespace, and where its name has room. */
  root: { box: Box; label: Point } | null;
  hue: number;
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
  kind: 'veth' | 'wire' | 'port-of' | 'carried-by' | 'tunnel';
  points: Point[];
  ends: [LinkId, LinkId];
  up: boolean;
  label: string;
}

export interface Picture {
  width: number;
  height: number;
  /** In reading order: each machine, its interfaces, its namespaces with theirs. */
  items: Item[];
  cables: Cable[];
}

const margin = 24;
const pad = 18;
const gap = 22;
const head = 54;
const column = 136; // of one cable, its label included
const labelRoom = column - 34;
const slim = 130; // a pill in a column
const pillGap = 30;
const machineGap = 72;
const wireSpace = 8;
const portSize = 14;
const leastInner = 316;
const legendWidth = 118;
const perRow = 4;
const portRoom = 96; // of a port of a switch, its label included
const overhang = 140;

type Side = 'north' | 'south' | 'west' | 'east';
interface Pin extends Point {
  side: Side;
  /** Where the wire begins, if that is further inside the machine. */
  from?: Point;
}

/** One machine drawn at the origin. */
interface Drawing {
  w: number;
  h: number;
  items: Item[];
  cables: Cable[];
  /** Where wires to other machines leave. */
  pins: Map<LinkId, Pin>;
}

/** The whole picture. The same snapshot always gives the same one. */
export function draw(snapshot: Snapshot): Picture {
  const w = new World(snapshot);
  const rows = arrange(w);
  const picture = assemble(w, rows);
  countSiblings(picture.items);
  return picture;
}

// ---- one machine ------------------------------------------------------------

const stands = (m: Machine): 'switch' | 'compact' | 'host' => {
  const inner = m.namespaces.length > 0;
  if (m.node.kind === 'switch' && !inner) return 'switch';
  const plain = (m.node.links ?? []).every((l) => l.kind !== 'bridge' && !l.master);
  return isInfrastructure(m) && !inner && plain ? 'compact' : 'host';
};

const isInfrastructure = (m: Machine): boolean => ['switch', 'router', 'internet'].includes(m.node.kind);

const nodeItem = (node: Node, look: NodeItem['look'], box: Box, titleAt: Point, width: number): NodeItem => ({
  type: 'node',
  id: node.id,
  node,
  look,
  box,
  title: cut(netnsOf(node.id) || node.id, width, sansWidth),
  titleAt,
  root: null,
  hue: hueOf(netnsOf(node.id)),
  level: netnsOf(node.id) ? 2 : 1,
  position: 0,
  siblings: 0,
  parent: netnsOf(node.id) ? (node.id.split('/', 1)[0] ?? null) : null,
});

function linkItem(e: End, shape: Shape, box: Box, width = box.w - 44): LinkItem {
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

function addressLines(l: Netdev): string[] {
  const all = shownAddresses(l);
  return all.length > 2 ? [all[0] as string, `+${all.length - 1}`] : all;
}

function linesOf(l: Netdev): string[] {
  const facts: string[] = [];
  if (l.vxlan) facts.push(`VNI ${l.vxlan.vni} · UDP ${l.vxlan.port}`);
  if (l.kind !== 'loopback' && l.mtu !== 1500 && l.mtu > 0) facts.push(`MTU ${l.mtu}`);
  return [...addressLines(l), ...facts];
}

function pillSize(e: End, most = 190): { w: number; h: number } {
  const lines = linesOf(e.link);
  const w = Math.max(sansWidth(e.link.name) + 44, ...lines.map((l) => monoWidth(l) + 30), 104);
  return { w: Math.min(most, Math.round(w)), h: lines.length < 2 ? 46 : 32 + 14 * lines.length };
}

const chipSize = (e: End): { w: number; h: number } => ({
  w: Math.min(118, Math.round(monoWidth(e.link.name, 11) + 28)),
  h: 22,
});

const isVeth = (e: End): boolean => e.link.kind === 'veth';

/** Which interfaces of a namespace have their cable leaving at the bottom edge. */
const leaves = (e: End, w: World): boolean => {
  const far = w.far(e);
  return isVeth(e) && far !== undefined && far.node.id !== e.node.id;
};

interface Container {
  node: Node;
  ports: End[];
  chips: End[];
  w: number;
  h: number;
}

function measureContainer(node: Node, w: World): Container {
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

function drawContainer(
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

/** A port centred on an edge; its name stands outside, to the right of the cable. */
function portItem(e: End, at: Point, side: 'north' | 'south', labelWidth: number): LinkItem {
  const box = { x: at.x - portSize / 2, y: at.y - portSize / 2, w: portSize, h: portSize };
  const item = linkItem(e, 'port', box, labelWidth);
  const y = at.y + (side === 'south' ? 20 : -12);
  item.lines = [];
  item.label = { x: at.x + 11, y, lines: { x: at.x + 11, y } };
  return item;
}

/** Boxes in rows, left to right, wrapped at `width`. */
function flow(sizes: { w: number; h: number }[], width: number, space: number) {
  const at: Point[] = [];
  let [x, y, tallest, widest, rows] = [0, 0, 0, 0, sizes.length ? 1 : 0];
  for (const s of sizes) {
    if (x > 0 && x + s.w > width) {
      x = 0;
      y += tallest + space;
      tallest = 0;
      rows++;
    }
    at.push({ x, y });
    x += s.w + space;
    tallest = Math.max(tallest, s.h);
    widest = Math.max(widest, x - space);
  }
  return { at, rows, w: widest, h: sizes.length ? y + tallest : 0 };
}

const cableUp = (a: End, b: End): boolean => linkState(a.link) === 'up' && linkState(b.link) === 'up';

const cable = (kind: Cable['kind'], a: End, b: End, points: Point[]): Cable => ({
  id: `${kind} ${a.id} ${b.id}`,
  kind,
  points,
  ends: [a.id, b.id],
  up: cableUp(a, b),
  label: '',
});

/** Straight down where both lie on one vertical, else with a step in the middle. */
const drop = (a: Point, b: Point): Point[] => {
  if (Math.abs(a.x - b.x) < 0.5) return [a, b];
  const middle = (a.y + b.y) / 2;
  return [a, { x: a.x, y: middle }, { x: b.x, y: middle }, b];
};

/** What a machine's own namespace holds, by its place in the grammar. */
interface RootParts {
  chips: End[];
  bars: End[];
  /** Ports of a bridge whose cable comes from a namespace above. */
  north: End[];
  /** Pills whose cable comes from a namespace above. */
  attached: End[];
  /** Unplugged: cables with both ends here, one end perhaps in a bridge; single devices. */
  loose: { ends: End[]; bar: End | null; port: End | null }[];
  /** Both ends are ports of bridges here. */
  loops: [End, End][];
  tunnels: End[];
  uplinks: End[];
}

function sortRoot(m: Machine, w: World): RootParts {
  const parts: RootParts = {
    chips: [],
    bars: [],
    north: [],
    attached: [],
    loose: [],
    loops: [],
    tunnels: [],
    uplinks: [],
  };
  const ends = w.ends(m.node);
  const barOf = (e: End): End | null =>
    ends.find((b) => b.link.name === e.link.master && b.link.kind === 'bridge') ?? null;
  const seen = new Set<LinkId>();
  for (const e of ends) {
    if (seen.has(e.id)) continue;
    const far = w.far(e);
    if (e.link.kind === 'loopback') parts.chips.push(e);
    else if (e.link.kind === 'bridge') parts.bars.push(e);
    else if (w.wiredTo(e) !== undefined) parts.uplinks.push(e);
    else if (isVeth(e) && far && far.node.id !== e.node.id) (barOf(e) ? parts.north : parts.attached).push(e);
    else if (isVeth(e) && far) {
      seen.add(far.id);
      const [here, there] = [barOf(e), barOf(far)];
      if (here && there) parts.loops.push([e, far]);
      else if (here) parts.loose.push({ ends: [far], bar: here, port: e });
      else if (there) parts.loose.push({ ends: [e], bar: there, port: far });
      else parts.loose.push({ ends: [e, far], bar: null, port: null });
    } else if (isVeth(e) || e.link.kind === 'dummy')
      parts.loose.push({ ends: [e], bar: barOf(e), port: null });
    else if (underlay(e, w) || tunnelKinds.has(e.link.kind)) parts.tunnels.push(e);
    else parts.uplinks.push(e);
  }
  return parts;
}

const tunnelKinds = new Set(['vxlan', 'tun', 'tap', 'gre', 'gretap', 'ipip', 'sit', 'geneve', 'wireguard']);

function drawHost(m: Machine, w: World, extra: number): Drawing {
  const containers = m.namespaces.map((n) => measureContainer(n, w));
  const parts = sortRoot(m, w);
  const rowWidth = containers.reduce((sum, c) => sum + c.w + gap, -gap);

  // Columns of the lower section: what is carried stands over what carries it.
  const stacks = parts.uplinks.map((base) => ({ base: base as End | null, top: [] as End[] }));
  for (const t of parts.tunnels) {
    const under = underlay(t, w);
    const stack = under && stacks.find((s) => s.base?.id === under.id);
    if (stack) stack.top.push(t);
    else stacks.push({ base: null, top: [t] });
  }
  const topWidth = (s: (typeof stacks)[0]): number =>
    s.top.reduce((sum, e) => sum + pillSize(e).w + gap, -gap);
  const stackWidth = (s: (typeof stacks)[0]): number =>
    Math.max(topWidth(s), s.base ? pillSize(s.base).w : 0);
  const stacksWidth = stacks.reduce((sum, s) => sum + stackWidth(s) + gap, -gap);
  const topHeight = Math.max(0, ...stacks.flatMap((s) => s.top.map((e) => pillSize(e).h)));
  const baseHeight = Math.max(0, ...stacks.map((s) => (s.base ? pillSize(s.base).h : 0)));
  const stacksHeight = topHeight + (topHeight && baseHeight ? pillGap : 0) + baseHeight;

  const cord = 44;
  const looseSizes = parts.loose.map((l) => ({
    w: l.ends.reduce((sum, e) => sum + pillSize(e, slim).w + cord, -cord),
    h: Math.max(...l.ends.map((e) => pillSize(e, slim).h)),
  }));
  // Lines between a bridge and what stands below it may not run through unplugged cables.
  const isPort = (e: End): boolean => parts.bars.some((b) => b.link.name === e.link.master);
  const apart = parts.loose.length > 0 && [...parts.uplinks, ...parts.tunnels].some(isPort);
  const looseRoom = apart
    ? 1
    : Math.max(rowWidth, stacksWidth, leastInner - 2 * pad, parts.loose.length > 3 ? 640 : 0);
  const loose = flow(looseSizes, looseRoom, gap);
  const lowerWidth = apart ? loose.w + gap + stacksWidth : Math.max(loose.w, stacksWidth);

  const barTitles = parts.bars.map(
    (b) => Math.max(sansWidth(b.link.name), ...linesOf(b.link).map((l) => monoWidth(l))) + 60,
  );
  const header = 62 + sansWidth(m.node.id, 17) + noticeWidth(m.node) + parts.chips.length * 60;
  const inner = Math.max(leastInner, header - pad, rowWidth, lowerWidth + 2 * pad, ...barTitles);

  const items: Item[] = [];
  const cables: Cable[] = [];
  const pins = new Map<LinkId, Pin>();
  const card = { x: 0, y: 0, w: inner + 2 * pad, h: 0 };
  const machine = nodeItem(m.node, 'host', card, { x: 48, y: 34 }, card.w - 150);
  const netnsItems: Item[] = [];

  // Namespaces, side by side over the root namespace.
  const sky = new Map<LinkId, Point>();
  const containerHeight = Math.max(0, ...containers.map((c) => c.h));
  let x = pad + (inner - rowWidth) / 2;
  for (const c of containers) {
    const drawn = drawContainer(c, x, head, containerHeight);
    netnsItems.push(...drawn.items);
    drawn.ports.forEach((p, id) => sky.set(id, p));
    x += c.w + gap;
  }

  // Cables between two namespaces of this machine turn round between them and the root namespace.
  const siblings = m.namespaces.flatMap((n) =>
    w.ends(n).flatMap((e) => {
      const far = w.far(e);
      const here = far && far.node.id !== m.node.id && sky.has(far.id) && sky.has(e.id);
      return far && here && e.id < far.id ? [{ a: e, b: far }] : [];
    }),
  );
  const hops = siblings.map(({ a, b }) => ({ x1: sky.get(a.id)?.x ?? 0, x2: sky.get(b.id)?.x ?? 0 }));
  const turning = lanes(hops);
  siblings.forEach(({ a, b }, i) => {
    const [p, q] = [sky.get(a.id) as Point, sky.get(b.id) as Point];
    const y = p.y + 32 + 12 * (turning.lane[i] ?? 0);
    cables.push(cable('veth', a, b, [p, { x: p.x, y }, { x: q.x, y }, q]));
  });

  const rootTop = containers.length ? head + containerHeight + 36 + 12 * turning.count : head - 2;
  const root: Box = { x: pad, y: rootTop, w: inner, h: 0 };
  let y = rootTop + 40 + extra;

  // The header's small interfaces: lo.
  let chipRight = card.w - pad;
  for (const e of parts.chips) {
    const size = chipSize(e);
    chipRight -= size.w;
    items.push(linkItem(e, 'chip', { x: chipRight, y: 16, ...size }, size.w - 22));
    chipRight -= 6;
  }

  // Pills right below the namespace that their cable comes from.
  for (const e of parts.attached) {
    const far = w.far(e);
    const from = far && sky.get(far.id);
    if (!far || !from) continue;
    const size = pillSize(e, slim);
    const box = { x: from.x - size.w / 2, y, ...size };
    items.push(linkItem(e, 'pill', box));
    cables.push(cable('veth', far, e, [from, { x: from.x, y }]));
  }
  if (parts.attached.length) y += Math.max(...parts.attached.map((e) => pillSize(e, slim).h)) + pillGap;

  // Bridges.
  const portsOf = (bar: End): { e: End; from: Point; far: End }[] =>
    parts.north
      .filter((e) => e.link.master === bar.link.name)
      .flatMap((e) => {
        const far = w.far(e);
        const from = far && sky.get(far.id);
        return far && from ? [{ e, from, far }] : [];
      });
  const barBoxes = new Map<LinkId, Box>();
  for (const bar of parts.bars) {
    const h = linesOf(bar.link).length > 1 ? 24 + 14 * linesOf(bar.link).length + 8 : 52;
    const ports = portsOf(bar);
    if (ports.length) y += 16;
    const box = { x: root.x + 14, y, w: root.w - 28, h };
    barBoxes.set(bar.id, box);
    items.push(linkItem(bar, 'bar', box));
    for (const { e, from, far } of ports) {
      items.push(portItem(e, { x: from.x, y }, 'north', labelRoom));
      cables.push(cable('veth', far, e, [from, { x: from.x, y }]));
    }
    y += h + pillGap;
  }
  parts.loops.forEach(([a, b], i) => {
    const [p, q] = [a, b].map((e, k) => {
      const bar = parts.bars.find((one) => one.link.name === e.link.master);
      const box = bar && barBoxes.get(bar.id);
      const at = { x: (box?.x ?? 0) + 30 + (2 * i + k) * column, y: (box?.y ?? 0) + (box?.h ?? 0) };
      items.push(portItem(e, at, 'south', labelRoom));
      return at;
    }) as [Point, Point];
    const low = Math.max(p.y, q.y) + 26;
    cables.push(cable('veth', a, b, [p, { x: p.x, y: low }, { x: q.x, y: low }, q]));
  });
  if (parts.loops.length) y += 28;

  // From the lower edge of a bridge to something below it.
  const hang = (bar: End | undefined | null, to: Point): Point[] | null => {
    const box = bar && barBoxes.get(bar.id);
    if (!box) return null;
    return drop({ x: Math.min(Math.max(to.x, box.x + 16), box.x + box.w - 16), y: box.y + box.h }, to);
  };
  const hangs = parts.bars.length > 0 && [...parts.uplinks, ...parts.tunnels].some(isPort);
  if (hangs || parts.loose.some((l) => l.bar)) y += 12;

  // Unplugged cables.
  const lowerLeft = root.x + (root.w - lowerWidth) / 2;
  const looseLeft = apart ? lowerLeft : root.x + (root.w - loose.w) / 2;
  parts.loose.forEach((l, i) => {
    const at = loose.at[i] as Point;
    let left = looseLeft + at.x;
    const boxes = l.ends.map((e) => {
      const size = pillSize(e, slim);
      const box = { x: left, y: y + at.y, ...size };
      left += size.w + cord;
      items.push(linkItem(e, 'pill', box));
      return box;
    });
    const [first, second] = boxes;
    const [a, b] = l.ends;
    if (a && b && first && second) {
      const level = first.y + Math.min(first.h, second.h) / 2;
      cables.push(
        cable('veth', a, b, [
          { x: first.x + first.w, y: level },
          { x: second.x, y: level },
        ]),
      );
    } else if (a && first && l.bar) {
      const top = { x: first.x + first.w / 2, y: first.y };
      const points = hang(l.bar, top);
      if (points && l.port) {
        items.push(portItem(l.port, points[0] as Point, 'south', labelRoom));
        cables.push(cable('veth', l.port, a, points));
      } else if (points) cables.push(cable('port-of', l.bar, a, points));
    }
  });
  if (parts.loose.length && !apart) y += loose.h + pillGap;

  // Tunnels over what carries them.
  let left = apart ? lowerLeft + loose.w + gap : root.x + (root.w - stacksWidth) / 2;
  for (const s of stacks) {
    const width = stackWidth(s);
    const size = s.base && pillSize(s.base);
    const base = size && { x: left + (width - size.w) / 2, y: y + stacksHeight - size.h, ...size };
    let tx = left + (width - topWidth(s)) / 2;
    const rise = s.base ? y + topHeight : y + stacksHeight;
    for (const e of s.top) {
      const t = pillSize(e);
      const box = { x: tx, y: rise - t.h, ...t };
      tx += t.w + gap;
      items.push(linkItem(e, 'pill', box));
      const bottom = { x: box.x + box.w / 2, y: box.y + box.h };
      if (s.base && base) {
        cables.push(cable('carried-by', e, s.base, drop(bottom, { x: base.x + base.w / 2, y: base.y })));
      }
      const bar = parts.bars.find((b) => b.link.name === e.link.master);
      const points = hang(bar, { x: bottom.x, y: box.y });
      if (bar && points) cables.push(cable('port-of', bar, e, points));
    }
    if (s.base && base) {
      items.push(linkItem(s.base, 'pill', base));
      const bar = parts.bars.find((b) => b.link.name === s.base?.link.master);
      const points = hang(bar, { x: base.x + base.w / 2, y: base.y });
      if (bar && points) cables.push(cable('port-of', bar, s.base, points));
      if (w.wiredTo(s.base))
        pins.set(s.base.id, { x: base.x + base.w / 2, y: base.y + base.h, side: 'south' });
    }
    left += width + gap;
  }
  const lower = apart ? Math.max(loose.h, stacksHeight) : stacksHeight;
  y = lower ? y + lower : Math.max(rootTop + 56, y - pillGap);

  root.h = y + pad - root.y;
  card.h = root.y + root.h + pad;
  const crossings = [...parts.attached, ...parts.north].flatMap((e) => sky.get(e.link.peer ?? '')?.x ?? []);
  machine.root = { box: root, label: { x: freeSpot(root, crossings), y: root.y + 22 } };
  // A cable from a namespace straight to another machine passes behind the root namespace.
  sky.forEach((p, id) => {
    const e = w.end(id);
    if (!e || w.wiredTo(e) === undefined) return;
    pins.set(id, { x: p.x, y: card.h, side: 'south', from: { ...p } });
  });
  return { w: card.w, h: card.h, items: [machine, ...items, ...netnsItems], cables, pins };
}

/** Where along the upper edge a name has room between the cables. */
function freeSpot(root: Box, crossings: number[]): number {
  const edges = [root.x - 6, ...crossings.toSorted((a, b) => a - b), root.x + root.w + 6];
  for (let i = 1; i < edges.length; i++) {
    const from = (edges[i - 1] as number) + 20;
    if ((edges[i] as number) - from >= legendWidth) return from;
  }
  return root.x + 14;
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

/** A router or the internet: its interfaces in a row over its name. */
function drawCompact(m: Machine, w: World, sideOf: SideOf): Drawing {
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
  const titleWidth = Math.min(200, sansWidth(m.node.id, 17) + 60) + chipsWidth + noticeWidth(m.node);
  const card = {
    x: 0,
    y: 0,
    w: Math.max(pillsWidth + 2 * pad, titleWidth + 2 * pad, 170),
    h: (tall ? tall + 16 : 0) + 54,
  };
  const items: Item[] = [nodeItem(m.node, 'compact', card, { x: 46, y: card.h - 21 }, 160)];
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
  return { w: card.w, h: card.h, items, cables: [], pins };
}

const isLocal = (address: string): boolean => address.startsWith('127.') || address.startsWith('::1');

/** What decides about packets that a machine is to pass on, and is not the ordinary. */
export type Notice = { kind: 'forwarding' } | { kind: 'drop'; chain: string };

export function notices(n: Node): Notice[] {
  const dropping = (n.firewall ?? []).filter((c) => c.policy?.toUpperCase() === 'DROP').map((c) => c.name);
  return [
    ...(n.sysctls?.['net.ipv4.ip_forward'] === '1' ? [{ kind: 'forwarding' as const }] : []),
    ...[...new Set(dropping)].map((chain) => ({ kind: 'drop' as const, chain })),
  ];
}

const noticeWidth = (n: Node): number => notices(n).length * 104;

function onEdge(b: Box, side: Side): Point {
  if (side === 'west') return { x: b.x, y: b.y + b.h / 2 };
  if (side === 'east') return { x: b.x + b.w, y: b.y + b.h / 2 };
  return { x: b.x + b.w / 2, y: side === 'north' ? b.y : b.y + b.h };
}

/** A switch: ports on its edges, each towards the machine that it leads to. */
function drawSwitch(m: Machine, w: World, sideOf: SideOf): Drawing {
  const ends = w.ends(m.node);
  const ports = ends.filter((e) => w.wiredTo(e) !== undefined).map((e) => ({ e, ...sideOf(e) }));
  const along = (side: Side): typeof ports => ports.filter((p) => p.side === side).sort((a, b) => a.x - b.x);
  const [top, bottom] = [along('north'), along('south')];
  const others = ends.filter((e) => w.wiredTo(e) === undefined);
  const sizes = others.map((e) => chipSize(e));
  const chips = flow(sizes, 1000, 6);
  const width = Math.max(190, top.length * (portRoom + 8), bottom.length * (portRoom + 8), chips.w + 40);
  const box = { x: 0, y: 0, w: width, h: 78 };
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
    items.push(linkItem(e, 'chip', { x: (width - chips.w) / 2 + at.x, y: 44, ...size }, size.w - 22));
  });
  return { w: width, h: box.h, items, cables: [], pins };
}

// ---- machines among each other ----------------------------------------------

/** Which way a machine's wire leaves, and whereabouts the other machine stands. */
type SideOf = (e: End) => { side: Side; x: number };

interface Placed {
  machine: Machine;
  drawing: Drawing;
  x: number;
  row: number;
}

/** Hosts in rows on top, what connects them in the row below. */
function arrange(w: World): Placed[][] {
  const hosts = w.machines.filter((m) => !isInfrastructure(m));
  const rest = w.machines.filter((m) => isInfrastructure(m));
  const columns = hosts.length <= perRow ? perRow : Math.ceil(Math.sqrt(hosts.length * 1.6));
  const rows: Placed[][] = [];
  for (let i = 0; i < hosts.length; i += columns) {
    const row = hosts.slice(i, i + columns).map((machine) => ({ machine, drawing: drawHost(machine, w, 0) }));
    const tallest = Math.max(...row.map((r) => r.drawing.h));
    let x = 0;
    rows.push(
      row.map(({ machine, drawing }) => {
        const extra = tallest - drawing.h;
        const placed = {
          machine,
          drawing: extra > 0 ? drawHost(machine, w, extra) : drawing,
          x,
          row: rows.length,
        };
        x += drawing.w + machineGap;
        return placed;
      }),
    );
  }
  const widest = Math.max(0, ...rows.map(rowWidth));
  for (const row of rows) shift(row, (widest - rowWidth(row)) / 2);
  if (rest.length) rows.push(infrastructure(rest, rows, w));
  const least = Math.min(0, ...rows.flat().map((p) => p.x));
  for (const row of rows) shift(row, margin - least + besides(rows));
  return rows;
}

/** Room for wires beside the machines, where there are several rows of them. */
const besides = (rows: Placed[][]): number => (rows.length > 2 ? machineGap : 0);

const rowWidth = (row: Placed[]): number => {
  const last = row.at(-1);
  return last ? last.x + last.drawing.w : 0;
};
const shift = (row: Placed[], by: number): void => row.forEach((p) => (p.x += by));

function infrastructure(rest: Machine[], hosts: Placed[][], w: World): Placed[] {
  const middle = Math.max(0, ...hosts.map(rowWidth)) / 2;
  const known = new Map(hosts.flat().map((p) => [p.machine.node.id, p.x + p.drawing.w / 2]));
  const neighbours = (m: Machine): string[] => w.ends(m.node).flatMap((e) => w.wiredTo(e) ?? []);
  // Each stands below what it connects; one that is behind others, beside them.
  for (let round = 0; round < rest.length; round++) {
    const found = rest.flatMap((m): [string, number][] => {
      if (known.has(m.node.id)) return [];
      const xs = neighbours(m).flatMap((n) => known.get(n) ?? []);
      return xs.length ? [[m.node.id, xs.reduce((a, b) => a + b) / xs.length]] : [];
    });
    if (!found.length) break;
    for (const [id, x] of found) known.set(id, x);
  }
  const wish = (m: Machine): number => known.get(m.node.id) ?? middle;
  const order = rest.toSorted((a, b) => wish(a) - wish(b));

  const level = new Map<LinkId, Side>();
  order.forEach((m, i) => {
    const next = order[i + 1];
    if (!next || stands(m) === 'host' || stands(next) === 'host') return;
    const e = w.ends(m.node).find((one) => w.wiredTo(one) === next.node.id);
    const far = e && w.far(e);
    if (!far) return;
    level.set(e.id, 'east');
    level.set(far.id, 'west');
  });
  const infra = new Set(rest.map((m) => m.node.id));
  const sideOf: SideOf = (e) => {
    const other = w.wiredTo(e) ?? '';
    return { side: level.get(e.id) ?? (infra.has(other) ? 'south' : 'north'), x: known.get(other) ?? 0 };
  };

  const row = order.map((machine) => {
    const how = stands(machine);
    const drawing =
      how === 'switch'
        ? drawSwitch(machine, w, sideOf)
        : how === 'compact'
          ? drawCompact(machine, w, sideOf)
          : drawHost(machine, w, 0);
    return { machine, drawing, x: wish(machine) - drawing.w / 2, row: hosts.length };
  });
  for (let i = 1; i < row.length; i++) {
    const [before, one] = [row[i - 1] as Placed, row[i] as Placed];
    one.x = Math.max(one.x, before.x + before.drawing.w + machineGap);
  }
  // Where they pushed each other far beyond the hosts, they are moved back as a group.
  const beyond = rowWidth(row) - Math.max(0, ...hosts.map(rowWidth));
  if (beyond > overhang) {
    const wished = order.reduce((sum, m) => sum + wish(m), 0) / order.length;
    const got = row.reduce((sum, p) => sum + p.x + p.drawing.w / 2, 0) / row.length;
    shift(row, wished - got);
  }
  straighten(row, hosts, w);
  return row;
}

/** A port of a switch that is nearly below its wire goes there, so that the wire is straight. */
function straighten(row: Placed[], hosts: Placed[][], w: World): void {
  for (const p of row.filter((one) => stands(one.machine) === 'switch')) {
    const ports = [...p.drawing.pins].filter(([, pin]) => pin.side === 'north');
    for (const [id, pin] of ports) {
      const end = w.end(id);
      const far = end && w.far(end);
      const host = far && hosts.at(-1)?.find((one) => one.drawing.pins.has(far.id));
      const above = host && far && (host.drawing.pins.get(far.id)?.x ?? 0) + host.x - p.x;
      const item = p.drawing.items.find((i) => i.id === id);
      if (above === undefined || item?.type !== 'link' || !item.label) continue;
      const others = ports.filter(([other]) => other !== id).map(([, other]) => other.x);
      const free = others.every((x) => Math.abs(x - above) >= portRoom);
      if (Math.abs(above - pin.x) > portRoom / 2 || above < 24 || above > p.drawing.w - 24 || !free) continue;
      item.box.x += above - pin.x;
      item.label.x += above - pin.x;
      pin.x = above;
    }
  }
}

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

function assemble(w: World, rows: Placed[][]): Picture {
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
    cables.push(
      cable(
        'wire',
        a.end,
        b.end,
        points.map(({ x, y: py }) => ({ x, y: py })),
      ),
    );
  }
  const items = rows.flat().flatMap((p) => p.drawing.items);
  cables.push(...drawTunnels(w, items));
  const right = Math.max(0, ...rows.flat().map((p) => p.x + p.drawing.w));
  // Machines read in the lab's order, wherever they stand.
  const order = new Map(w.machines.map((m, i) => [m.node.id, i]));
  const machineIndex = (i: Item): number => order.get(i.node.id.split('/', 1)[0] ?? '') ?? 0;
  items.sort((a, b) => machineIndex(a) - machineIndex(b));
  return { width: right + margin + besides(rows), height: y + margin, items, cables };
}

/** How far each drawing of a row is lowered, so that wires between neighbours are level. */
function rises(row: Placed[]): number[] {
  const levels = row.map(
    (p) => [...p.drawing.pins.values()].find((pin) => pin.side === 'west' || pin.side === 'east')?.y,
  );
  const lowest = Math.max(0, ...levels.map((l) => l ?? 0));
  return levels.map((l) => (l === undefined ? 0 : lowest - l));
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
  new Set(d.cables.flatMap((c) => c.points)).forEach(move);
  d.pins.forEach((pin) => {
    move(pin);
    if (pin.from) move(pin.from);
  });
}

function drawTunnels(w: World, items: Item[]): Cable[] {
  const boxes = new Map(items.map((i) => [i.id, i.box]));
  return tunnels(w).flatMap(({ a, b, label }) => {
    const [p, q] = [boxes.get(a.id), boxes.get(b.id)];
    if (!p || !q) return [];
    const [l, r] = p.x <= q.x ? [p, q] : [q, p];
    const from = { x: l.x + l.w, y: l.y + l.h / 2 };
    const to = { x: r.x, y: r.y + r.h / 2 };
    const turn = (from.x + to.x) / 2;
    const points = from.y === to.y ? [from, to] : [from, { x: turn, y: from.y }, { x: turn, y: to.y }, to];
    return [{ ...cable('tunnel', a, b, points), label }];
  });
}

function countSiblings(items: Item[]): void {
  const counts = new Map<string | null, number>();
  for (const i of items) {
    i.position = (counts.get(i.parent) ?? 0) + 1;
    counts.set(i.parent, i.position);
  }
  for (const i of items) i.siblings = counts.get(i.parent) ?? 1;
}
