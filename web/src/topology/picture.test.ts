import { describe, expect, test } from 'vitest';
import { models, type Model } from '../../mock/models';
import { container, film, many, on, overlay, scene, scenes } from '../../mock/scenes';
import { linkId } from '../snapshot';
import type { NodeKind, Snapshot } from '../wire';
import { contains, overlap, type Box, type Point } from './geometry';
import { draw, type Cable, type Item, type LinkItem, type Picture } from './picture';

const isLink = (i: Item): i is LinkItem => i.type === 'link';
const solid = (p: Picture): LinkItem[] => p.items.filter(isLink);
const grown = (b: Box, by: number): Box => ({ x: b.x - by, y: b.y - by, w: b.w + 2 * by, h: b.h + 2 * by });
const show = (i: Item): string => `${i.id} ${JSON.stringify(i.box)}`;

/** The box of a port's name, as wide as it is at most drawn. */
function labelBox(i: LinkItem): Box | null {
  return i.label && { x: i.label.x, y: i.label.y - 9, w: i.name.length * 6.6, h: 11 };
}

function segments(c: Cable): Box[] {
  return c.points.slice(1).map((b, i) => {
    const a = c.points[i] as Point;
    return { x: Math.min(a.x, b.x), y: Math.min(a.y, b.y), w: Math.abs(a.x - b.x), h: Math.abs(a.y - b.y) };
  });
}

describe.each(scenes)('%s', (_, snapshot) => {
  const picture = draw(snapshot);
  const node = (id: string): Item | undefined => picture.items.find((i) => i.id === id);

  test('every namespace and interface is drawn once', () => {
    const nodes = snapshot.nodes ?? [];
    const wanted = nodes.flatMap((n) => [n.id, ...(n.links ?? []).map((l) => linkId(n.id, l.name))]);
    expect(picture.items.map((i) => i.id).toSorted()).toEqual(wanted.toSorted());
  });

  test('nothing overlaps', () => {
    const faults: string[] = [];
    const check = (all: Item[]): void =>
      all.forEach((a, i) =>
        all.slice(i + 1).forEach((b) => {
          if (overlap(a.box, b.box)) faults.push(`${show(a)} and ${show(b)}`);
        }),
      );
    check(picture.items.filter((i) => i.type === 'node' && i.look !== 'netns'));
    check(picture.items.filter((i) => i.type === 'node' && i.look === 'netns'));
    check(solid(picture).filter((i) => i.shape !== 'port'));
    check(solid(picture).filter((i) => i.shape === 'port'));
    expect(faults).toEqual([]);
  });

  test('names of ports have room', () => {
    const faults: string[] = [];
    const labels = solid(picture).flatMap((i) => {
      const box = labelBox(i);
      return box ? [{ i, box }] : [];
    });
    labels.forEach(({ i, box }, k) => {
      for (const other of labels.slice(k + 1))
        if (overlap(box, other.box)) faults.push(`${i.id} and ${other.i.id}`);
      for (const other of picture.items) {
        const inner = isLink(other) || other.look === 'netns';
        if (inner && other.id !== i.id && overlap(box, other.box)) faults.push(`${i.id} over ${show(other)}`);
      }
    });
    expect(faults).toEqual([]);
  });

  test('what is inside stays inside', () => {
    for (const i of picture.items) {
      if (i.parent === null) {
        expect(contains({ x: 0, y: 0, w: picture.width, h: picture.height }, i.box), show(i)).toBe(true);
      } else {
        const parent = node(i.parent);
        expect(parent && contains(grown(parent.box, 8), i.box), show(i)).toBe(true);
      }
    }
  });

  test('cables stay in the picture', () => {
    const whole = { x: 0, y: 0, w: picture.width, h: picture.height };
    for (const c of picture.cables) for (const s of segments(c)) expect(contains(whole, s), c.id).toBe(true);
  });

  test('cables end at their interfaces', () => {
    expect(new Set(picture.cables.map((c) => c.id)).size).toBe(picture.cables.length);
    for (const c of picture.cables) {
      const [a, b] = c.ends.map((id) => node(id)?.box);
      const [first, last] = [c.points[0], c.points.at(-1)];
      const touches = (p: Point | undefined, box: Box | undefined): boolean =>
        !!p && !!box && contains(grown(box, 0.6), { ...p, w: 0, h: 0 });
      expect(touches(first, a) && touches(last, b), c.id).toBe(true);
    }
  });

  test('cables run straight and through nobody else', () => {
    const faults: string[] = [];
    for (const c of picture.cables) {
      for (const s of segments(c)) {
        if (s.w > 0.5 && s.h > 0.5) faults.push(`${c.id} is slanted`);
        if (c.kind === 'tunnel') continue;
        for (const i of solid(picture)) {
          // A cable may pass behind a bridge that is not its own.
          if (c.ends.includes(i.id) || i.shape === 'bar') continue;
          if (i.shape === 'port' && i.link.peer && c.ends.includes(i.link.peer)) continue;
          if (overlap(grown(i.box, -1), { ...s, w: s.w || 0.01, h: s.h || 0.01 }))
            faults.push(`${c.id} through ${show(i)}`);
        }
      }
    }
    expect(faults).toEqual([]);
  });

  test('no two wires lie on each other', () => {
    const runs = picture.cables.flatMap((c) => segments(c).map((s) => ({ c, s: grown(s, -0.1) })));
    const faults: string[] = [];
    runs.forEach(({ c, s }, i) => {
      for (const other of runs.slice(i + 1)) {
        const along = (a: Box, b: Box): boolean => a.w > a.h === b.w > b.h;
        if (c === other.c || c.kind === 'tunnel' || other.c.kind === 'tunnel' || !along(s, other.s)) continue;
        if (overlap(grown(s, 1), grown(other.s, 1))) faults.push(`${c.id} and ${other.c.id}`);
      }
    });
    expect(faults).toEqual([]);
  });

  test('the same snapshot gives the same picture', () => {
    expect(draw(structuredClone(snapshot))).toEqual(picture);
  });
});

test('machines keep their order when one grows', () => {
  for (const m of models) {
    for (const s of film(m)) {
      const hosts = draw(s).items.filter((i) => i.type === 'node' && i.look === 'host');
      const xs = hosts.map((h) => h.box.x);
      expect(xs).toEqual(xs.toSorted((a, b) => a - b));
    }
  }
});

test('a namespace hangs straight over its end of the cable', () => {
  const m = models[1] as Model;
  const picture = draw(film(m).at(-1) as Snapshot);
  const veths = picture.cables.filter((c) => c.kind === 'veth');
  expect(veths).toHaveLength(2);
  for (const c of veths) expect(c.points[0]?.x).toBe(c.points.at(-1)?.x);
});

test('tunnels are drawn where there is evidence, level between the hosts', () => {
  const last = draw(film(models[3] as Model).at(-1) as Snapshot);
  const tun = last.cables.filter((c) => c.kind === 'tunnel');
  expect(tun.map((c) => c.label)).toEqual(['UDP 9000']);
  const vx = draw(overlay()).cables.filter((c) => c.kind === 'tunnel');
  expect(vx.map((c) => [c.label, c.points.length])).toEqual([['VXLAN 100', 2]]);
  expect(last.cables.filter((c) => c.kind === 'carried-by')).toHaveLength(2);
});

test('a hundred nodes are laid out quickly enough to follow typing', () => {
  const big = scene(
    [...many(20, (i): [string, NodeKind] => [`host${i + 1}`, 'host']), ['sw', 'switch']],
    many(20, (i): [string, string] => [`host${i + 1}:eth0`, `sw:port${i + 1}`]),
    many(20, (i) =>
      on(`host${i + 1}`, 'ip link add br0 type bridge', ...many(4, (k) => container(k, 'br0')).flat()),
    ).flat(),
  );
  expect(big.nodes).toHaveLength(101);
  expect(draw(big).items.length).toBeGreaterThan(400);
});
