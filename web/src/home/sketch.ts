import type { Box, Point } from '../topology/geometry';
import type { FreeWorld } from '../wire';

export interface Thing {
  name: string;
  kind: 'machine' | 'joint' | 'outside';
  box: Box;
}

/** A world in a few strokes. */
export interface Sketch {
  width: number;
  height: number;
  things: Thing[];
  cables: Point[][];
}

const width = 380;
const rim = 12;
const high = 46; // a machine
const low = 36; // what joins them
const between = 58;
const outsideWide = 84;

/**
 * What a choice of machines will look like: hosts above what joins them, the
 * rest of the world beside the router that leads there.
 */
export function sketch({ hosts, join, internet, laptop }: FreeWorld): Sketch {
  const things: Thing[] = [];
  const cables: Point[][] = [];
  const routed = join === 'router' || internet || laptop;
  const names = [...(join === 'switch' && hosts > 1 ? ['sw'] : []), ...(routed ? ['r1'] : [])];

  const pitch = (width - 2 * rim) / hosts;
  const machine = Math.min(110, pitch - 10);
  const middle = (i: number): number => rim + (i + 0.5) * pitch;
  for (let i = 0; i < hosts; i++) {
    const box = { x: middle(i) - machine / 2, y: rim, w: machine, h: high };
    things.push({ name: `host${String(i + 1)}`, kind: 'machine', box });
  }

  let y = rim + high;
  for (const [level, name] of names.entries()) {
    const above = level === 0 ? Array.from({ length: hosts }, (_, i) => middle(i)) : [width / 2];
    const w = Math.min(170, 64 + above.length * 22);
    const top = y + between;
    const plugs = Math.min(34, (w - 28) / above.length);
    for (const [i, x] of above.entries()) {
      const off = i - (above.length - 1) / 2;
      const to = width / 2 + off * plugs;
      // The outermost cables turn lowest, so that none crosses another.
      const turn = top - 16 - ((above.length - 1) / 2 - Math.abs(off)) * 9;
      cables.push([
        { x, y },
        { x, y: turn },
        { x: to, y: turn },
        { x: to, y: top },
      ]);
    }
    things.push({ name, kind: 'joint', box: { x: (width - w) / 2, y: top, w, h: low } });
    y = top + low;
  }

  const router = things.at(-1)?.box;
  for (const [name, left] of [
    ['laptop', true],
    ['internet', false],
  ] as const) {
    if (!router || !(name === 'laptop' ? laptop : internet)) continue;
    const box = { x: left ? rim : width - rim - outsideWide, y: router.y, w: outsideWide, h: low };
    things.push({ name, kind: 'outside', box });
    const level = router.y + low / 2;
    cables.push([
      { x: left ? box.x + box.w : box.x, y: level },
      { x: left ? router.x : router.x + router.w, y: level },
    ]);
  }
  return { width, height: y + rim, things, cables };
}
