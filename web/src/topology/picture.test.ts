import { describe, expect, test } from 'vitest';
import { models, type Model } from '../../mock/models';
import { container, film, many, on, overlay, scene, scenes } from '../../mock/scenes';
import { Refused, ToyWorld, whole } from '../../mock/world';
import { applyDiff, linkId } from '../snapshot';
import type { Diff, Netdev, NodeKind, Snapshot } from '../wire';
import { contains, monoWidth, overlap, type Box, type Point } from './geometry';
import { draw, type Cable, type Item, type LinkItem, type Picture } from './picture';

const sceneOf = (name: string): Snapshot => (scenes.find(([n]) => n === name) as [string, Snapshot])[1];

/** A small generator of numbers below n, the same for the same seed. */
function randomOf(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >> 8) % n;
  };
}

/** Something that a learner might type; much of it is refused. */
function attempt(w: ToyWorld, random: (n: number) => number): void {
  const host = `host${1 + random(2)}`;
  const [i, k] = [random(4), random(4)];
  const commands = [
    `ip netns add n${i}`,
    `ip netns del n${i}`,
    `ip link add v${i} type veth peer name w${i}`,
    `ip link set w${i} netns n${k}`,
    `ip link add br${i % 2} type bridge`,
    `ip link set v${i} master br${k % 2}`,
    `ip link set v${i} up`,
    `ip link del v${i}`,
    `ip -n n${k} addr add 172.16.${i}.${k + 1}/24 dev w${i}`,
    'ip link set eth0 master br0',
  ];
  try {
    w.run(host, commands[random(commands.length)] as string);
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
  }
}

/** What the server would send: only what differs. */
const diffOf = (a: Snapshot, b: Snapshot): Diff => ({
  from: a.revision,
  to: b.revision,
  order: (b.nodes ?? []).map((n) => n.id),
  changed: (b.nodes ?? [])
    .filter((n) => JSON.stringify(n) !== JSON.stringify((a.nodes ?? []).find((one) => one.id === n.id)))
    .map(whole),
});

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

  test('every namespace and interface is drawn once, but what every switch has besides its ports', () => {
    const nodes = snapshot.nodes ?? [];
    const wanted = nodes.flatMap((n) => {
      const links = (n.links ?? []).filter((l) => n.kind !== 'switch' || !['lo', 'br0'].includes(l.name));
      return [n.id, ...links.map((l) => linkId(n.id, l.name))];
    });
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

test('tunnels that tell their ends are joined with those that answer them', () => {
  const found = draw(sceneOf('GRE, IP in IP and Geneve between three hosts')).cables.filter(
    (c) => c.kind === 'tunnel',
  );
  // host1's gre8 leads to host2, where nothing has its key.
  expect(found.map((c) => [c.label, ...c.ends])).toEqual([
    ['GRE 7', 'host1:gre7', 'host2:gre7'],
    ['GENEVE 42', 'host1:gnv', 'host3:gnv'],
    ['IPIP', 'host2:ipip0', 'host3:ipip0'],
  ]);
});

test.each(scenes)('the labels of %s stand on their tunnels, and cover nothing', (_, s) => {
  const { cables, items } = draw(s);
  for (const c of cables.filter((one) => one.label)) {
    const at = c.labelAt as Point;
    const w = monoWidth(c.label) + 26;
    const box = { x: at.x - w / 2, y: at.y - 12, w, h: 24 };
    expect(
      segments(c).some((one) => contains(grown(one, 13), { ...at, w: 0, h: 0 })),
      c.id,
    ).toBe(true);
    for (const i of items.filter(isLink)) expect(overlap(box, i.box), `${c.label} over ${i.id}`).toBe(false);
  }
});

test('a tunnel in a tunnel stands over it, and both are drawn', () => {
  const nested = draw(sceneOf('a tunnel in a tunnel'));
  expect(nested.cables.filter((c) => c.kind === 'tunnel').map((c) => c.label)).toEqual([
    'VXLAN 9',
    'UDP 9000',
  ]);
  const at = (id: string): Box => (nested.items.find((i) => i.id === id) as Item).box;
  expect(at('host1:vxlan9').y).toBeLessThan(at('host1:tun0').y);
  expect(at('host1:tun0').y).toBeLessThan(at('host1:eth0').y);
});

test('what shares an interface hangs straight on it', () => {
  const p = draw(sceneOf('macvlan on the uplink'));
  const children = p.cables.filter((c) => c.kind === 'child-of');
  expect(children.map((c) => c.ends[1])).toEqual(['host1:eth0', 'host1:eth0', 'host1:eth0']);
  for (const c of children) expect(c.points).toHaveLength(2);
  const lines = p.items.flatMap((i) => (isLink(i) && i.link.kind === 'macvlan' ? [i.lines] : []));
  expect(lines).toEqual([
    ['10.0.0.20/24', 'macvlan bridge'],
    ['10.0.0.21/24', 'macvlan bridge'],
    ['10.0.0.22/24', 'macvlan private'],
  ]);
});

test.each<[string, (br0: Netdev, lo: Netdev) => void, string[]]>([
  ['as it was made', () => undefined, []],
  ['its bridge is down', (br0) => (br0.up = false), ['sw:br0']],
  ['its bridge has an address', (br0) => (br0.addresses = ['10.0.0.2/24']), ['sw:br0']],
  ['it speaks STP', (br0) => (br0.bridge = { stp: true, vlan_filtering: false }), ['sw:br0']],
  ['its loopback has an address', (_, lo) => lo.addresses?.push('192.0.2.1/32'), ['sw:lo']],
])('of a switch is drawn what is not the ordinary: %s', (_, change, wanted) => {
  const s = structuredClone(sceneOf('the uplink inside a namespace'));
  const links = s.nodes?.find((n) => n.id === 'sw')?.links ?? [];
  const named = (name: string): Netdev => links.find((l) => l.name === name) as Netdev;
  change(named('br0'), named('lo'));
  const chips = draw(s).items.filter((i) => isLink(i) && i.shape === 'chip' && i.node.id === 'sw');
  expect(chips.map((i) => i.id)).toEqual(wanted);
});

test('a machine without containers is as tall as it needs to be, and stands level with its neighbours', () => {
  const { items } = draw(sceneOf('a published port'));
  const box = (id: string): Box => (items.find((i) => i.id === id) as Item).box;
  const [host, laptop] = [box('host1'), box('laptop')];
  expect(laptop.h).toBeLessThan(host.h - 100);
  expect(laptop.y + laptop.h).toBe(host.y + host.h);
  expect(box('laptop:eth0').y).toBe(box('host1:eth0').y);
});

test('a published port leads to the namespace that answers', () => {
  const p = draw(sceneOf('several published ports'));
  expect(p.signs.map((s) => [s.kind, s.on, s.lines])).toEqual([
    ['nat', 'host1:eth0', ['SNAT → 10.0.2.15', '172.20.0.0/24']],
    ['publish', 'host1:eth0', [':8080 → 172.20.0.1:80', ':8443 → 172.20.0.1:443', ':53 → 172.20.0.3:53']],
  ]);
  expect(p.arrows.map((a) => a.to)).toEqual(['host1/c0', 'host1/c2']);
});

test('what is translated at an interface that others share has its signs below it', () => {
  for (const name of [
    'macvlan on the uplink, and addresses translated there',
    'macvlan on the uplink, addresses translated there, a tunnel beside',
  ]) {
    const p = draw(sceneOf(name));
    expect(p.signs.map((s) => [s.kind, s.on, s.lines])).toEqual([
      ['nat', 'host1:eth0', ['MASQUERADE', '172.20.0.0/24']],
      ['publish', 'host1:eth0', [':8080 → 172.20.0.4:80']],
    ]);
    expect(p.arrows.map((a) => a.to)).toEqual(['host1/c3']);
    const bar = p.items.find((i) => i.id === 'host1:eth0') as LinkItem;
    const wire = p.cables.find((c) => c.kind === 'wire') as Cable;
    for (const s of p.signs) {
      expect(s.box.y).toBeGreaterThan(bar.box.y + bar.box.h);
      for (const c of p.cables)
        for (const seg of segments(c))
          expect(overlap(s.box, grown(seg, 1)), `${s.id} on ${c.id}`).toBe(false);
    }
    expect(wire.points[0]?.y).toBe(bar.box.y + bar.box.h);
  }
});

describe.each(scenes)('the signs of %s', (_, snapshot) => {
  const { items, signs, arrows, width, height } = draw(snapshot);
  test('cover nothing', () => {
    for (const s of signs)
      for (const i of items.filter(isLink))
        expect(overlap(s.box, i.box), `${s.id} over ${show(i)}`).toBe(false);
  });
  test('and their ways run straight, through no interface', () => {
    for (const a of arrows)
      for (const s of segments({ points: a.points } as Cable)) {
        expect(s.w < 0.5 || s.h < 0.5, a.id).toBe(true);
        expect(contains({ x: 0, y: 0, w: width, h: height }, s), a.id).toBe(true);
        for (const i of items.filter(isLink))
          expect(overlap(i.box, { ...s, w: s.w || 0.01, h: s.h || 0.01 }), `${a.id} through ${i.id}`).toBe(
            false,
          );
      }
  });
});

test.each(models.map((m) => [m.id, m] as const))(
  '%s: what is drawn after changes is what is drawn of their result',
  (_, m) => {
    let known: Snapshot | null = null;
    for (const s of film(m)) {
      known = known ? applyDiff(known, diffOf(known, s)) : s;
      expect(known && draw(known)).toEqual(draw(s));
    }
  },
);

test('whatever is done in whatever order, the picture depends on the state alone', () => {
  for (let seed = 1; seed <= 12; seed++) {
    const random = randomOf(seed);
    const w = new ToyWorld(
      [
        ['host1', 'host'],
        ['host2', 'host'],
        ['sw', 'switch'],
      ],
      [
        ['host1:eth0', 'sw:p1'],
        ['host2:eth0', 'sw:p2'],
      ],
    );
    let known = w.snapshot();
    draw(known);
    for (let i = 0; i < 25; i++) {
      attempt(w, random);
      const next = w.snapshot();
      known = applyDiff(known, diffOf(known, next)) as Snapshot;
      expect(draw(known), `seed ${seed}`).toEqual(draw(structuredClone(next)));
    }
  }
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
