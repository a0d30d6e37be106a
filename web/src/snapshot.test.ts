import { describe, expect, test } from 'vitest';
import { models } from '../mock/models';
import { ToyWorld, whole } from '../mock/world';
import { applyDiff, changedBetween, emptySnapshot, linkState, shownAddresses, splitLink } from './snapshot';
import type { Diff, LimitHit, Netdev, Node, NodeChange, Snapshot } from './wire';

/** The diff as the server makes it: the sections that differ, each whole. */
function compare(a: Snapshot, b: Snapshot): Diff {
  const [before, after] = [a.nodes ?? [], b.nodes ?? []];
  const old = new Map(before.map((n) => [n.id, n]));
  const order = after.map((n) => n.id);
  const d: Diff = { from: a.revision, to: b.revision };
  if (JSON.stringify(a.limits) !== JSON.stringify(b.limits)) d.limits = b.limits ?? [];
  if (JSON.stringify(order) !== JSON.stringify(before.map((n) => n.id))) d.order = order;
  d.changed = after.flatMap((n): NodeChange[] => {
    const was = old.get(n.id);
    if (!was) return [whole(n)];
    const entries = Object.entries(n) as [keyof Node, unknown][];
    const differ = entries.filter(([k, v]) => JSON.stringify(v) !== JSON.stringify(was[k]));
    return differ.length ? [{ id: n.id, ...Object.fromEntries(differ) }] : [];
  });
  return d;
}

/** A small generator with a seed, so that a failure can be seen again (mulberry32). */
function random(seed: number): (below: number) => number {
  let s = seed;
  return (below) => {
    s = (s + 0x6d2b79f5) | 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const node = (id: string, more: Partial<Node> = {}): Node => ({
  id,
  kind: id.includes('/') ? 'netns' : 'host',
  links: null,
  routes: null,
  rules: null,
  neighbours: null,
  fdb: null,
  firewall: null,
  sockets: null,
  sysctls: null,
  counters: null,
  ...more,
});

describe('applying a diff', () => {
  const s: Snapshot = { revision: 3, nodes: [node('host1', { sysctls: { a: '1' } }), node('host2')] };

  test('replaces whole sections and leaves the others', () => {
    const after = applyDiff(s, {
      from: 3,
      to: 4,
      changed: [{ id: 'host1', routes: [{ dst: '0.0.0.0/0' }] }],
    });
    expect(after).toEqual({
      revision: 4,
      nodes: [node('host1', { sysctls: { a: '1' }, routes: [{ dst: '0.0.0.0/0' }] }), node('host2')],
    });
  });

  test('takes a new node where the order says', () => {
    const order = ['host1', 'host1/kon', 'host2'];
    const after = applyDiff(s, { from: 3, to: 4, order, changed: [whole(node('host1/kon'))] });
    expect(after?.nodes?.map((n) => n.id)).toEqual(order);
  });

  test('drops a node that the order leaves out', () => {
    expect(applyDiff(s, { from: 3, to: 4, order: ['host2'] })?.nodes?.map((n) => n.id)).toEqual(['host2']);
  });

  test('refuses a gap', () => {
    expect(applyDiff(s, { from: 4, to: 5 })).toBeNull();
    expect(applyDiff(emptySnapshot, { from: 3, to: 4 })).toBeNull();
  });

  test('refuses an order with an unknown node', () => {
    expect(applyDiff(s, { from: 3, to: 4, order: ['host1', 'nobody'] })).toBeNull();
  });

  test('takes limits that were hit, and keeps them', () => {
    const limits = [{ kind: 'memory', bound: 192, hits: 1 }];
    const hit = applyDiff(s, { from: 3, to: 4, limits });
    expect(hit).toEqual({ ...s, revision: 4, limits });
    const later = hit && applyDiff(hit, { from: 4, to: 5, changed: [{ id: 'host2', routes: [] }] });
    expect(later?.limits).toEqual(limits);
    expect(later && applyDiff(later, { from: 5, to: 6, limits: [] })?.limits).toBeUndefined();
  });

  test('leaves the old snapshot as it was', () => {
    const before = structuredClone(s);
    applyDiff(s, { from: 3, to: 4, order: ['host1'], changed: [{ id: 'host1', sysctls: { a: '2' } }] });
    expect(s).toEqual(before);
  });
});

test.each(Array.from({ length: 60 }, (_, i) => i))('incremental equals from scratch, seed %i', (seed) => {
  const pick = random(seed);
  const all = models.flatMap((m) => m.steps.flatMap((s) => s.do)).filter(([, c]) => !c.startsWith('socat'));
  const more: [string, string][] = [
    ['host1', 'ip netns del kon1'],
    ['host1', 'ip link del veth10'],
    ['host1', 'ip link set br0 down'],
    ['host2', 'ip link set eth0 down'],
  ];
  const commands = [...all, ...more];
  const world = new ToyWorld(
    [
      ['host1', 'host'],
      ['host2', 'host'],
      ['sw', 'switch'],
    ],
    [
      ['host1:eth0', 'sw:port1'],
      ['host2:eth0', 'sw:port2'],
    ],
  );
  let limits: LimitHit[] = [];
  let truth = world.snapshot();
  let mine: Snapshot | null = truth;
  for (let i = 0; i < 150; i++) {
    const [machine, command] = commands[pick(commands.length)] as [string, string];
    try {
      world.run(machine, command);
    } catch {
      continue; // The toy refuses what a kernel would.
    }
    if (pick(4) === 0) {
      limits = Array.from({ length: pick(3) }, (_, n) => ({ kind: `limit ${n}`, hits: pick(3) + 1 }));
    }
    const next = limits.length > 0 ? { ...world.snapshot(), limits } : world.snapshot();
    const diff: Diff = JSON.parse(JSON.stringify(compare(truth, next))) as Diff;
    mine = mine && applyDiff(mine, diff);
    expect(mine).toEqual(next);
    truth = next;
  }
});

describe('what a person sees change', () => {
  const eth0: Netdev = {
    name: 'eth0',
    index: 2,
    kind: 'veth',
    up: true,
    carrier: true,
    mac: '02:00:00:00:00:02',
    mtu: 1500,
    addresses: [],
  };
  const a: Snapshot = { revision: 1, nodes: [node('host1', { links: [eth0] })] };
  const with_ = (more: Partial<Node>): Snapshot => ({
    revision: 2,
    nodes: [node('host1', { links: [eth0], ...more })],
  });

  test.each<[string, Snapshot, string[]]>([
    ['an interface that goes down', with_({ links: [{ ...eth0, up: false }] }), ['host1:eth0']],
    ['a new interface', with_({ links: [eth0, { ...eth0, name: 'br0' }] }), ['host1:br0']],
    ['a route', with_({ routes: [{ dst: '10.0.0.0/8' }] }), ['host1']],
    ['a new namespace', { revision: 2, nodes: [...(a.nodes ?? []), node('host1/kon')] }, ['host1/kon']],
    ['a neighbour, a counter: nothing', with_({ neighbours: [], counters: { x: 1 } }), []],
  ])('%s', (_, b, wanted) => {
    expect([...changedBetween(a, b)]).toEqual(wanted);
  });
});

test.each<[boolean, boolean, string]>([
  [false, false, 'down'],
  [true, false, 'no-carrier'],
  [true, true, 'up'],
])('up %s, carrier %s is shown as %s', (up, carrier, wanted) => {
  expect(
    linkState({ name: 'x', index: 1, kind: 'veth', up, carrier, mac: '', mtu: 1500, addresses: null }),
  ).toBe(wanted);
});

test('names and addresses', () => {
  expect(splitLink('host1/kon:veth2')).toEqual({ node: 'host1/kon', name: 'veth2' });
  expect(splitLink('host1')).toEqual({ node: 'host1', name: '' });
  const addresses = ['fe80::1/64', '10.0.0.1/24'];
  expect(
    shownAddresses({
      name: 'x',
      index: 1,
      kind: 'veth',
      up: true,
      carrier: true,
      mac: '',
      mtu: 1500,
      addresses,
    }),
  ).toEqual(['10.0.0.1/24']);
});
