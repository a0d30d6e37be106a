// Worlds to draw: every state of the four models, and odd ones.
import type { NodeKind, Snapshot } from '../src/wire';
import { build, models, type Model } from './models';
import { ToyWorld } from './world';

/** Every state that the world passes through. */
export function film(m: Model): Snapshot[] {
  const w = build(m);
  const out = [w.snapshot()];
  for (const [machine, command] of m.steps.flatMap((s) => s.do)) {
    w.run(machine, command);
    out.push(w.snapshot());
  }
  return out;
}

export function scene(
  machines: [string, NodeKind][],
  wires: [string, string][],
  commands: [string, string][],
): Snapshot {
  const w = new ToyWorld(machines, wires);
  for (const [machine, command] of commands) w.run(machine, command);
  return w.snapshot();
}

const host1: [string, NodeKind][] = [['host1', 'host']];
export const on = (machine: string, ...commands: string[]): [string, string][] =>
  commands.map((c) => [machine, c]);
export const container = (i: number, bridge = ''): string[] => [
  `ip netns add c${i}`,
  `ip link add v${i} type veth peer name w${i}`,
  `ip link set w${i} netns c${i}`,
  `ip -n c${i} addr add 172.20.0.${i + 1}/24 dev w${i}`,
  ...(bridge ? [`ip link set v${i} master ${bridge}`] : []),
];
export const many = <T>(n: number, f: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => f(i));

const odd: Record<string, Snapshot> = {
  'nothing at all': { revision: 1, nodes: [] },
  'one bare machine': scene(host1, [], []),
  'an unplugged cable': scene(host1, [], on('host1', 'ip link add a type veth peer name b')),
  'many unplugged cables': scene(
    host1,
    [],
    on('host1', ...many(7, (i) => `ip link add a${i} type veth peer name b${i}`)),
  ),
  'one end in a bridge, the other free': scene(
    host1,
    [],
    on(
      'host1',
      'ip link add br0 type bridge',
      'ip link add a type veth peer name b',
      'ip link set a master br0',
    ),
  ),
  'a cable from a bridge to itself': scene(
    host1,
    [],
    on(
      'host1',
      'ip link add br0 type bridge',
      'ip link add a type veth peer name b',
      'ip link set a master br0',
      'ip link set b master br0',
    ),
  ),
  'two bridges': scene(
    host1,
    [],
    on(
      'host1',
      'ip link add br0 type bridge',
      'ip link add br1 type bridge',
      ...container(0, 'br0'),
      ...container(1, 'br1'),
    ),
  ),
  'bridged and routed namespaces': scene(
    host1,
    [],
    on(
      'host1',
      'ip link add br0 type bridge',
      ...container(0, 'br0'),
      ...container(1),
      ...container(2, 'br0'),
    ),
  ),
  'a dozen namespaces': scene(
    host1,
    [],
    on('host1', 'ip link add br0 type bridge', ...many(12, (i) => container(i, 'br0')).flat()),
  ),
  'two namespaces joined by a cable': scene(
    host1,
    [],
    on(
      'host1',
      ...container(0),
      ...container(1),
      'ip link add x type veth peer name y',
      'ip link set x netns c0',
      'ip link set y netns c1',
    ),
  ),
  'the uplink in a bridge beside a loose cable': scene(
    [...host1, ['host2', 'host']],
    [['host1:eth0', 'host2:eth0']],
    on(
      'host1',
      'ip link add br0 type bridge',
      'ip link set eth0 master br0',
      'ip link add a type veth peer name b',
    ),
  ),
  'the uplink inside a namespace': scene(
    [...host1, ['sw', 'switch']],
    [['host1:eth0', 'sw:port1']],
    on('host1', 'ip netns add kon', 'ip link set eth0 netns kon'),
  ),
  'interfaces of a namespace that lead nowhere': scene(
    host1,
    [],
    on('host1', ...container(0), ...many(5, (i) => `ip -n c0 link add dummy${i} type dummy`)),
  ),
  'a namespace on a router': scene(
    [...host1, ['sw', 'switch'], ['r1', 'router']],
    [
      ['host1:eth0', 'sw:port1'],
      ['r1:eth0', 'sw:port2'],
    ],
    on('r1', ...container(0)),
  ),
  'two switches around a router': scene(
    [...host1, ['host2', 'host'], ['sw1', 'switch'], ['sw2', 'switch'], ['r1', 'router']],
    [
      ['host1:eth0', 'sw1:port1'],
      ['host2:eth0', 'sw2:port1'],
      ['r1:eth0', 'sw1:port2'],
      ['r1:eth1', 'sw2:port2'],
    ],
    [],
  ),
  'the internet behind a router behind a switch': scene(
    [...host1, ['laptop', 'laptop'], ['sw', 'switch'], ['r1', 'router'], ['internet', 'internet']],
    [
      ['host1:eth0', 'sw:port1'],
      ['laptop:eth0', 'sw:port2'],
      ['r1:eth0', 'sw:port3'],
      ['r1:eth1', 'internet:eth0'],
    ],
    [...on('internet', 'ip addr add 8.8.8.8/32 dev eth0', 'ip addr add 203.0.113.1/24 dev eth0')],
  ),
  'nine hosts on one switch': scene(
    [...many(9, (i): [string, NodeKind] => [`host${i + 1}`, 'host']), ['sw', 'switch']],
    many(9, (i): [string, string] => [`host${i + 1}:eth0`, `sw:port${i + 1}`]),
    on('host2', ...container(0), ...container(1)),
  ),
  'names as long as they may be': scene(
    host1,
    [],
    on(
      'host1',
      `ip netns add ${'n'.repeat(64)}`,
      'ip link add abcdefghijklmno type veth peer name onmlkjihgfedcba',
      `ip link set onmlkjihgfedcba netns ${'n'.repeat(64)}`,
      `ip -n ${'n'.repeat(64)} addr add 172.16.100.100/24 dev onmlkjihgfedcba`,
      'ip addr add 192.168.100.100/24 dev abcdefghijklmno',
    ),
  ),
  'two networks per namespace': scene(
    host1,
    [],
    on(
      'host1',
      'ip link add br0 type bridge',
      'ip link add br1 type bridge',
      ...container(0, 'br0'),
      ...container(1, 'br1'),
      'ip link add x type veth peer name y',
      'ip link set y netns c0',
      'ip link set x master br1',
    ),
  ),
};
odd['a VXLAN between two hosts'] = overlay();

export function overlay(): Snapshot {
  const w = scene(
    [...host1, ['host2', 'host'], ['sw', 'switch']],
    [
      ['host1:eth0', 'sw:port1'],
      ['host2:eth0', 'sw:port2'],
    ],
    ['host1', 'host2'].flatMap((h, i) =>
      on(
        h,
        `ip addr add 10.0.0.${i + 1}/24 dev eth0`,
        'ip link add br0 type bridge',
        ...container(0, 'br0'),
        'ip link add vxlan100 type vxlan',
        'ip link set vxlan100 master br0',
      ),
    ),
  );
  (w.nodes ?? []).forEach((n, i) => {
    const link = (n.links ?? []).find((l) => l.name === 'vxlan100');
    if (!link) return;
    const local = i === 0 ? 1 : 2;
    link.vxlan = {
      vni: 100,
      local: `10.0.0.${local}`,
      remote: `10.0.0.${3 - local}`,
      port: 4789,
      learning: true,
    };
  });
  return w;
}

export const scenes: [string, Snapshot][] = [
  ...models.flatMap((m) => film(m).map((s, i): [string, Snapshot] => [`${m.id} after ${i} commands`, s])),
  ...Object.entries(odd),
];
