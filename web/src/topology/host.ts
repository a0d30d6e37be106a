import type { LinkId } from '../wire';
import { gridOf, isVeth, type Grid } from './container';
import { flow, lanes, monoWidth, sansWidth, type Box, type Point } from './geometry';
import {
  cable,
  chipSize,
  column,
  drop,
  gap,
  head,
  labelRoom,
  leastInner,
  legendWidth,
  linesOf,
  linkItem,
  nodeItem,
  pad,
  pillGap,
  pillSize,
  portItem,
  slim,
  type Drawing,
  type Pin,
} from './items';
import { noticesOf, noticeWidth } from './notices';
import { sortRoot, type RootParts } from './parts';
import type { Cable, Item } from './picture';
import { Translations } from './signs';
import { placeStacks, rowWidth, stacked, stacksHeight, type Stack } from './stacks';
import { underlay } from './tunnels';
import type { End, Machine, World } from './world';

const cord = 44; // of an unplugged cable
const lane = 12;
const wireRoom = 40; // beside what stands below a shared interface

/** A machine with its namespaces over its own; `extra` is room that it is given so that a row is level. */
export function drawHost(m: Machine, w: World, extra: number): Drawing {
  return new Host(m, w).draw(extra);
}

class Host {
  readonly #parts: RootParts;
  readonly #bars: End[];
  readonly #grid: Grid;
  readonly #stacks: Stack[];
  readonly #translations: Translations;
  readonly #items: Item[] = [];
  readonly #cables: Cable[] = [];
  readonly #pins = new Map<LinkId, Pin>();
  readonly #barBoxes = new Map<LinkId, Box>();
  #sky = new Map<LinkId, Point>();
  #root: Box = { x: pad, y: 0, w: 0, h: 0 };
  #y = 0;

  constructor(
    private readonly m: Machine,
    private readonly w: World,
  ) {
    this.#parts = sortRoot(m, w);
    this.#bars = [...this.#parts.bridges, ...this.#parts.shared];
    this.#grid = gridOf(m.namespaces, w, (e) => this.#laneOf(e));
    this.#translations = new Translations(m.node, w);
    this.#stacks = stacked(
      [...this.#parts.uplinks, ...this.#parts.riders],
      (e) => underlay(e, w),
      (e) => this.#translations.beside(e),
    );
  }

  draw(extra: number): Drawing {
    const { m, w } = this;
    const parts = this.#parts;
    const stacksWidth = rowWidth(this.#stacks);
    const looseSizes = parts.loose.map((l) => ({
      w: l.ends.reduce((sum, e) => sum + pillSize(e, slim).w + cord, -cord),
      h: Math.max(...l.ends.map((e) => pillSize(e, slim).h)),
    }));
    // Lines between a bridge and what stands below it may not run through unplugged cables.
    const below = [...parts.uplinks, ...parts.riders];
    const hangs = below.some((e) => this.#barOver(e) !== undefined);
    const apart = parts.loose.length > 0 && hangs;
    const looseRoom = apart
      ? 1
      : Math.max(this.#grid.w, stacksWidth, leastInner - 2 * pad, parts.loose.length > 3 ? 640 : 0);
    const loose = flow(looseSizes, looseRoom, gap);
    const lowerWidth = apart ? loose.w + gap + stacksWidth : Math.max(loose.w, stacksWidth);
    const wires = parts.shared.filter((e) => w.wiredTo(e) !== undefined);
    // Signs of what is shared stand on both sides of its wire, or of all that hangs below it.
    const signs = Math.max(
      0,
      ...parts.shared.flatMap((e) => {
        const { left, right } = this.#translations.beside(e);
        return [left, right];
      }),
    );
    const wireSpace = lowerWidth > 0 ? wires.length * wireRoom + signs : 0;

    const barTitles = this.#bars.map(
      (b) => Math.max(sansWidth(b.link.name), ...linesOf(b.link).map((l) => monoWidth(l))) + 60,
    );
    const notices = noticesOf(m.node);
    const header = 62 + sansWidth(m.node.id, 17) + noticeWidth(notices) + parts.chips.length * 60;
    const inner = Math.max(
      leastInner,
      header - pad,
      this.#grid.w + (this.#grid.rows.length > 1 ? pad : 0),
      lowerWidth + 2 * pad + 2 * wireSpace,
      signs && 2 * (signs + wires.length * wireRoom + pad),
      ...barTitles,
    );
    const card = { x: 0, y: 0, w: inner + 2 * pad, h: 0 };
    const machine = nodeItem(m.node, 'host', card, { x: 48, y: 34 }, card.w - 150, notices);

    const drawn = this.#grid.draw(pad + (inner - this.#grid.w) / 2, head);
    this.#sky = drawn.sky;
    const turns = this.#siblings(head + this.#grid.h);
    const arrows = this.#translations.leads(drawn.boxes) ? lane : 0;
    const rootTop = m.namespaces.length ? head + this.#grid.h + 36 + 12 * turns + arrows : head - 2;
    this.#root = { x: pad, y: rootTop, w: inner, h: 0 };
    this.#y = rootTop + 40 + extra;

    this.#header(card.w - pad);
    this.#attached();
    for (const bar of this.#bars) {
      this.#bar(bar);
      const { h } = this.#translations.beside(bar);
      if (h > 0 && parts.shared.includes(bar)) this.#y += h + 8;
    }
    this.#loops();
    if ((this.#bars.length > 0 && hangs) || parts.loose.some((l) => l.bar)) this.#y += 12;
    const lowerLeft = this.#root.x + (inner - lowerWidth) / 2;
    this.#loose(apart ? lowerLeft : this.#root.x + (inner - loose.w) / 2, loose.at);
    if (parts.loose.length && !apart) this.#y += loose.h + pillGap;
    const height = stacksHeight(this.#stacks);
    const lower = apart ? Math.max(loose.h, height) : height;
    const left = apart ? lowerLeft + loose.w + gap : this.#root.x + (inner - stacksWidth) / 2;
    const boxes = this.#placeStacks(left, this.#y + height);
    this.#y = lower ? this.#y + lower : Math.max(rootTop + 56, this.#y - pillGap);

    this.#root.h = this.#y + pad - rootTop;
    card.h = rootTop + this.#root.h + pad;
    const crossings = [...this.#sky].flatMap(([id, p]) => (this.#lands(id) ? [p.x] : []));
    machine.root = { box: this.#root, label: { x: freeSpot(this.#root, crossings), y: rootTop + 22 } };
    this.#wiresOf(wires, lowerWidth > 0, card.h);
    for (const bar of parts.shared) boxes.set(bar.id, this.#mouth(bar, lowerWidth > 0));
    const drawnSigns = this.#translations.draw(boxes, drawn.boxes, {
      low: rootTop + this.#root.h - pad / 2,
      aside: pad / 2,
      corridor: rootTop - lane,
      lowest: head + this.#grid.h,
    });
    return {
      w: card.w,
      h: card.h,
      items: [machine, ...this.#items, ...drawn.items],
      cables: this.#cables,
      pins: this.#pins,
      ...drawnSigns,
    };
  }

  /** The room that a cable from a namespace needs beside others, by what it leads to. */
  #laneOf(e: End): number {
    const far = this.w.far(e);
    if (isVeth(e) && far?.node.id === this.m.node.id && this.#parts.attached.includes(far)) return slim + 10;
    const longest = Math.max(monoWidth(e.link.name), monoWidth(far?.link.name ?? ''));
    return Math.min(80, Math.max(42, Math.round(longest) + 24));
  }

  /** Whether a cable from a namespace ends in the machine's own namespace. */
  #lands(id: LinkId): boolean {
    const e = this.w.end(id);
    if (!e) return false;
    const other = isVeth(e) ? this.w.far(e) : this.w.lower(e);
    return other?.node.id === this.m.node.id;
  }

  /** The wide bar that something below hangs from: its bridge, or what carries it. */
  #barOver(e: End): { bar: End; kind: 'port-of' | 'carried-by' } | undefined {
    const bridge = this.#bars.find((b) => b.link.name === e.link.master);
    if (bridge) return { bar: bridge, kind: 'port-of' };
    const under = underlay(e, this.w);
    const bar = under && this.#bars.find((b) => b.id === under.id);
    return bar && { bar, kind: 'carried-by' };
  }

  /** Cables between two namespaces of this machine turn round below them. The answer is how many lie below each other. */
  #siblings(bottom: number): number {
    const { m, w } = this;
    const pairs = m.namespaces.flatMap((n) =>
      w.ends(n).flatMap((e) => {
        const far = w.far(e);
        const here = far && far.node.id !== m.node.id && this.#sky.has(far.id) && this.#sky.has(e.id);
        return far && here && e.id < far.id ? [{ a: e, b: far }] : [];
      }),
    );
    const at = (e: End): Point => this.#sky.get(e.id) as Point;
    const turning = lanes(pairs.map(({ a, b }) => ({ x1: at(a).x, x2: at(b).x })));
    pairs.forEach(({ a, b }, i) => {
      const [p, q] = [at(a), at(b)];
      const y = bottom + 32 + lane * (turning.lane[i] ?? 0);
      this.#cables.push(cable('veth', a, b, [p, { x: p.x, y }, { x: q.x, y }, q]));
    });
    return turning.count;
  }

  /** The header's small interfaces: lo. */
  #header(right: number): void {
    let x = right;
    for (const e of this.#parts.chips) {
      const size = chipSize(e);
      x -= size.w;
      this.#items.push(linkItem(e, 'chip', { x, y: 16, ...size }, size.w - 22));
      x -= 6;
    }
  }

  /** Pills right below the namespace that their cable comes from. */
  #attached(): void {
    const { attached } = this.#parts;
    for (const e of attached) {
      const far = this.w.far(e);
      const from = far && this.#sky.get(far.id);
      if (!far || !from) continue;
      const size = pillSize(e, slim);
      this.#items.push(linkItem(e, 'pill', { x: from.x - size.w / 2, y: this.#y, ...size }));
      this.#cables.push(cable('veth', far, e, [from, { x: from.x, y: this.#y }]));
    }
    if (attached.length) this.#y += Math.max(...attached.map((e) => pillSize(e, slim).h)) + pillGap;
  }

  /** A bridge with the ports whose cables come from above, or an interface that those above share. */
  #bar(bar: End): void {
    const { w } = this;
    const lines = linesOf(bar.link).length;
    const h = lines > 1 ? 24 + 14 * lines + 8 : 52;
    const ports = this.#parts.north
      .filter((e) => e.link.master === bar.link.name)
      .flatMap((e) => {
        const far = w.far(e);
        const from = far && this.#sky.get(far.id);
        return far && from ? [{ e, from, far }] : [];
      });
    const children = [...this.#sky].flatMap(([id, from]) => {
      const e = w.end(id);
      return e && !isVeth(e) && w.lower(e)?.id === bar.id ? [{ e, from }] : [];
    });
    if (ports.length || children.length) this.#y += 16;
    const box = { x: this.#root.x + 14, y: this.#y, w: this.#root.w - 28, h };
    const master = this.#bars.find((b) => b !== bar && b.link.name === bar.link.master);
    this.#barBoxes.set(bar.id, box);
    this.#items.push(linkItem(bar, 'bar', box));
    for (const { e, from, far } of ports) {
      const to = { x: from.x, y: box.y };
      this.#items.push(portItem(e, to, 'north', this.#labelRoom(from.x)));
      this.#cables.push(cable('veth', far, e, [from, to]));
    }
    for (const { e, from } of children)
      this.#cables.push(cable('child-of', e, bar, [from, { x: from.x, y: box.y }]));
    if (master) this.#hang(master, bar, 'port-of', { x: box.x + 40, y: box.y });
    this.#y += h + pillGap;
  }

  /** The room beside a cable until the next one to its right. */
  #labelRoom(x: number): number {
    const next = [...this.#sky.values()].map((p) => p.x).filter((one) => one > x + 0.5);
    return Math.min(labelRoom, Math.min(...next) - x - 20);
  }

  /** Cables from a bridge to itself or to another bridge of the machine. */
  #loops(): void {
    this.#parts.loops.forEach(([a, b], i) => {
      const [p, q] = [a, b].map((e, k) => {
        const bar = this.#bars.find((one) => one.link.name === e.link.master);
        const box = bar && this.#barBoxes.get(bar.id);
        const at = {
          x: (box?.x ?? 0) + 30 + (2 * i + k) * column,
          y: (box?.y ?? 0) + (box?.h ?? 0),
        };
        this.#items.push(portItem(e, at, 'south', labelRoom));
        return at;
      }) as [Point, Point];
      const low = Math.max(p.y, q.y) + 26;
      this.#cables.push(cable('veth', a, b, [p, { x: p.x, y: low }, { x: q.x, y: low }, q]));
    });
    if (this.#parts.loops.length) this.#y += 28;
  }

  /** A way from the lower edge of a bar to something below it. */
  #way(bar: End | undefined | null, to: Point): Point[] | null {
    const box = bar && this.#barBoxes.get(bar.id);
    if (!box) return null;
    return drop({ x: Math.min(Math.max(to.x, box.x + 16), box.x + box.w - 16), y: box.y + box.h }, to);
  }

  #hang(bar: End, e: End, kind: 'port-of' | 'carried-by', to: Point): void {
    const points = this.#way(bar, to);
    if (!points) return;
    this.#cables.push(
      kind === 'port-of' ? cable(kind, bar, e, points) : cable(kind, e, bar, points.toReversed()),
    );
  }

  #loose(left: number, at: Point[]): void {
    this.#parts.loose.forEach((l, i) => {
      const place = at[i] as Point;
      let x = left + place.x;
      const boxes = l.ends.map((e) => {
        const size = pillSize(e, slim);
        const box = { x, y: this.#y + place.y, ...size };
        x += size.w + cord;
        this.#items.push(linkItem(e, 'pill', box));
        return box;
      });
      const [first, second] = boxes;
      const [a, b] = l.ends;
      if (a && b && first && second) {
        const y = first.y + Math.min(first.h, second.h) / 2;
        this.#cables.push(
          cable('veth', a, b, [
            { x: first.x + first.w, y },
            { x: second.x, y },
          ]),
        );
      } else if (a && first && l.bar) {
        const points = this.#way(l.bar, { x: first.x + first.w / 2, y: first.y });
        if (points && l.port) {
          this.#items.push(portItem(l.port, points[0] as Point, 'south', labelRoom));
          this.#cables.push(cable('veth', l.port, a, points));
        } else if (points) this.#cables.push(cable('port-of', l.bar, a, points));
      }
    });
  }

  /** What is carried over what carries it, uplinks lowest; the answer is where each stands. */
  #placeStacks(left: number, bottom: number): Map<LinkId, Box> {
    const placed = placeStacks(this.#stacks, left, bottom);
    this.#items.push(...placed.items);
    this.#cables.push(...placed.cables);
    for (const [id, box] of placed.boxes) {
      const e = this.w.end(id) as End;
      const over = this.#barOver(e);
      if (over) this.#hang(over.bar, e, over.kind, { x: box.x + box.w / 2, y: box.y });
      if (this.w.wiredTo(e) !== undefined)
        this.#pins.set(id, { x: box.x + box.w / 2, y: box.y + box.h, side: 'south' });
    }
    return placed.boxes;
  }

  /** The place below a bar between whose sides its signs stand. */
  #mouth(bar: End, aside: boolean): Box {
    const box = this.#barBoxes.get(bar.id) as Box;
    const { left, right, h } = this.#translations.beside(bar);
    const wires = this.#parts.shared.flatMap((e) => this.#pins.get(e.id)?.x ?? []);
    const middle = box.x + box.w / 2;
    const [west, east] = wires.length ? [Math.min(...wires), Math.max(...wires)] : [middle, middle];
    const y = box.y + box.h + 8;
    if (!aside) return { x: west, y, w: east - west, h };
    // What hangs below is in the middle, and the wires at the right edge.
    const x = box.x + left;
    return { x, y, w: (wires.length ? west - 8 : box.x + box.w) - right - x, h };
  }

  #wiresOf(shared: End[], aside: boolean, bottom: number): void {
    shared.forEach((e, i) => {
      const box = this.#barBoxes.get(e.id) as Box;
      const x = aside ? box.x + box.w - 26 - i * wireRoom : box.x + box.w / 2 - i * wireRoom;
      this.#pins.set(e.id, { x, y: bottom, side: 'south', from: { x, y: box.y + box.h } });
    });
    // A cable from a namespace straight to another machine passes behind the root namespace.
    this.#sky.forEach((p, id) => {
      const e = this.w.end(id);
      if (!e || this.w.wiredTo(e) === undefined) return;
      this.#pins.set(id, { x: p.x, y: bottom, side: 'south', from: { ...p } });
    });
  }
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
