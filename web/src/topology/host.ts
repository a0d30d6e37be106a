import type { LinkId } from '../wire';
import { drawContainer, isVeth, measureContainer } from './container';
import { flow, lanes, monoWidth, sansWidth, type Box, type Point } from './geometry';
import {
  pad,
  gap,
  head,
  column,
  labelRoom,
  slim,
  pillGap,
  leastInner,
  legendWidth,
  nodeItem,
  linkItem,
  linesOf,
  pillSize,
  chipSize,
  portItem,
  cable,
  drop,
  type Pin,
  type Drawing,
} from './items';
import { noticeWidth } from './notices';
import type { Cable, Item } from './picture';
import { underlay } from './tunnels';
import type { End, Machine, World } from './world';

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

export function drawHost(m: Machine, w: World, extra: number): Drawing {
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
