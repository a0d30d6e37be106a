import type { LinkId, Node, NodeId } from '../wire';
import { cut, monoWidth, type Box, type Point } from './geometry';
import { masquerades, published, publishedText, type Masquerade, type Published } from './nat';
import type { Arrow, Sign } from './picture';
import type { End, World } from './world';

const size = 10.5;
const space = 8; // between a sign and its interface
const linesAtMost = 4;
const widest = 210;

/** What a machine's firewall does to addresses, as signs beside its interfaces. */
export class Translations {
  readonly #nat: Masquerade[];
  readonly #published: Published[];

  constructor(node: Node, w: World) {
    this.#nat = masquerades(node, w);
    this.#published = published(node, w);
  }

  /** The room that the signs of an interface need on both of its sides, and how tall they are. */
  beside(e: End): { left: number; right: number; h: number } {
    const [doors, masks] = [this.#doors(e.id), this.#masks(e.id)];
    const room = (lines: string[]): number => (lines.length ? signSize(lines).w + space : 0);
    const tall = (lines: string[]): number => (lines.length ? signSize(lines).h : 0);
    return { left: room(doors), right: room(masks), h: Math.max(tall(doors), tall(masks)) };
  }

  /** Whether an arrow leads to one of these namespaces. */
  leads(boxes: Map<NodeId, Box>): boolean {
    return this.#published.some((p) => p.target && boxes.has(p.target.node.id));
  }

  /**
   * Signs beside what has been placed, and the ways from there to the
   * namespaces. Of a bar it is the place below it where its wire leaves.
   */
  draw(
    placed: Map<LinkId, Box>,
    namespaces: Map<NodeId, Box>,
    way: { low: number; aside: number; corridor: number; lowest: number },
  ): { signs: Sign[]; arrows: Arrow[] } {
    const signs: Sign[] = [];
    const arrows: Arrow[] = [];
    for (const [id, box] of placed) {
      const middle = box.y + box.h / 2;
      const [doors, masks] = [this.#doors(id), this.#masks(id)];
      if (masks.length) {
        const { w, h } = signSize(masks);
        signs.push(sign('nat', id, { x: box.x + box.w + space, y: middle - h / 2, w, h }, masks));
      }
      if (!doors.length) continue;
      const { w, h } = signSize(doors);
      const at = { x: box.x - space - w, y: middle - h / 2, w, h };
      signs.push(sign('publish', id, at, doors));
      const targets = new Set(
        this.#published.flatMap((p) => (p.on.id === id ? (p.target?.node.id ?? []) : [])),
      );
      for (const to of targets) {
        const into = namespaces.get(to);
        if (!into) continue;
        arrows.push({
          id: `${id} to ${to}`,
          to,
          points: [
            { x: at.x + w / 2, y: at.y + h },
            { x: at.x + w / 2, y: way.low },
            { x: way.aside, y: way.low },
            { x: way.aside, y: way.corridor },
            ...entrance(into, way),
          ],
        });
      }
    }
    return { signs, arrows };
  }

  #masks(id: LinkId): string[] {
    const here = this.#nat.filter((m) => m.on.id === id);
    const first = here[0];
    if (!first) return [];
    const sources = here.flatMap((m) => m.source ?? []);
    return few([first.to ? `SNAT → ${first.to}` : 'MASQUERADE', ...new Set(sources)]);
  }

  #doors(id: LinkId): string[] {
    return few([...new Set(this.#published.filter((p) => p.on.id === id).map(publishedText))]);
  }
}

/** From the corridor below the namespaces into one: from below, or from the side where others stand below it. */
function entrance(box: Box, way: { corridor: number; lowest: number }): Point[] {
  const bottom = box.y + box.h;
  if (Math.abs(bottom - way.lowest) < 0.5) {
    const x = box.x + 22;
    return [
      { x, y: way.corridor },
      { x, y: bottom + 2 },
    ];
  }
  const x = box.x - 11;
  return [
    { x, y: way.corridor },
    { x, y: box.y + box.h / 2 },
    { x: box.x - 2, y: box.y + box.h / 2 },
  ];
}

const few = (lines: string[]): string[] =>
  lines.length > linesAtMost
    ? [...lines.slice(0, linesAtMost - 1), `+${lines.length - linesAtMost + 1}`]
    : lines;

function signSize(lines: string[]): { w: number; h: number } {
  const w = Math.max(...lines.map((l) => monoWidth(l, size))) + 22;
  return { w: Math.min(widest, Math.round(w)), h: 10 + 14 * lines.length };
}

const sign = (kind: Sign['kind'], on: LinkId, box: Box, lines: string[]): Sign => ({
  id: `${kind} ${on}`,
  kind,
  on,
  box,
  lines: lines.map((l) => cut(l, box.w - 16, (s) => monoWidth(s, size))),
});
