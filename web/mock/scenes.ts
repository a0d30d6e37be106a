// Worlds to draw: every state of the four models, and odd ones.
import type { Chain, Netdev, NodeKind, Snapshot, Tunnel } from '../src/wire';
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
odd['thirty containers'] = scene(
  [...host1, ['sw', 'switch']],
  [['host1:eth0', 'sw:port1']],
  on(
    'host1',
    'ip addr add 10.0.0.10/24 dev eth0',
    'ip link add br0 type bridge',
    'ip addr add 172.20.0.254/24 dev br0',
    ...many(30, (i) => container(i, 'br0')).flat(),
  ),
);
odd['a published port'] = translated(
  ['-A PREROUTING -d 10.0.2.15/32 -p tcp -m tcp --dport 5000 -j DNAT --to-destination 172.20.0.1:5000'],
  ['-A POSTROUTING -s 172.20.0.0/24 ! -o br0 -j MASQUERADE'],
);
odd['several published ports'] = translated(
  [
    '-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.20.0.1:80',
    '-A PREROUTING -p tcp -m tcp --dport 8443 -j DNAT --to-destination 172.20.0.1:443',
    '-A PREROUTING -p udp -m udp --dport 53 -j DNAT --to-destination 172.20.0.3:53',
  ],
  ['-A POSTROUTING -s 172.20.0.0/24 -o eth0 -j SNAT --to-source 10.0.2.15'],
);
odd['macvlan on the uplink'] = macvlan([]);
odd['macvlan and a tunnel on the uplink, bridged ones beside'] = macvlan([
  'ip link add br0 type bridge',
  ...container(3, 'br0'),
  'ip link add vxlan7 type vxlan',
  'ip link add x type veth peer name y',
]);
odd['macvlan on the uplink, and addresses translated there'] = sharedAndTranslated([]);
odd['macvlan on the uplink, addresses translated there, a tunnel beside'] = sharedAndTranslated([
  'ip link add vxlan7 type vxlan',
  'ip link add x type veth peer name y',
]);
odd['GRE, IP in IP and Geneve between three hosts'] = tunnelled();
odd['a tunnel in a tunnel'] = nested();
odd['a namespace without a name'] = unnamed();
odd['a router that masquerades'] = masquerading();

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

/** A host with three containers, and rules that translate addresses. */
export function translated(prerouting: string[], postrouting: string[]): Snapshot {
  const s = scene(
    [...host1, ['sw', 'switch'], ['internet', 'internet'], ['laptop', 'laptop']],
    [
      ['host1:eth0', 'sw:port1'],
      ['internet:eth0', 'sw:port2'],
      ['laptop:eth0', 'sw:port3'],
    ],
    [
      ...on(
        'host1',
        'ip addr add 10.0.2.15/24 dev eth0',
        'ip route add default via 10.0.2.2',
        'ip link add br0 type bridge',
        'ip link set br0 up',
        'ip addr add 172.20.0.254/24 dev br0',
        ...many(3, (i) => container(i, 'br0')).flat(),
        ...many(3, (i) => [`ip link set v${i} up`, `ip -n c${i} link set w${i} up`]).flat(),
        'sysctl -w net.ipv4.ip_forward=1',
      ),
      ...on('internet', 'ip addr add 10.0.2.2/24 dev eth0'),
      ...on('laptop', 'ip addr add 10.0.2.30/24 dev eth0'),
    ],
  );
  firewall(s, 'host1', prerouting, postrouting);
  return s;
}

function firewall(s: Snapshot, node: string, prerouting: string[], postrouting: string[]): void {
  const found = (s.nodes ?? []).find((n) => n.id === node);
  if (!found) return;
  const chain = (table: string, name: string, policy: string, rules: string[]): Chain => ({
    tool: 'iptables',
    family: 'ip',
    table,
    name,
    policy,
    packets: 0,
    bytes: 0,
    rules: rules.map((text) => ({ text, packets: 3, bytes: 180 })),
  });
  found.firewall = [
    chain('filter', 'FORWARD', 'DROP', []),
    chain('nat', 'PREROUTING', 'ACCEPT', prerouting),
    chain('nat', 'POSTROUTING', 'ACCEPT', postrouting),
  ];
}

/** Three containers that share the uplink of their host. */
function macvlan(more: string[]): Snapshot {
  const s = scene(
    [...host1, ['sw', 'switch']],
    [['host1:eth0', 'sw:port1']],
    on('host1', 'ip addr add 10.0.0.10/24 dev eth0', ...many(3, (i) => `ip netns add m${i}`), ...more),
  );
  for (const [i, n] of (s.nodes ?? []).filter((one) => /\/m\d$/.test(one.id)).entries()) {
    (n.links ??= []).push({
      name: 'eth0',
      index: 90 + i,
      kind: 'macvlan',
      up: true,
      carrier: true,
      mac: `02:00:00:00:09:0${i}`,
      mtu: 1500,
      parent: 'host1:eth0',
      mode: i < 2 ? 'bridge' : 'private',
      addresses: [`10.0.0.${20 + i}/24`],
    });
  }
  const vxlan = (s.nodes ?? [])[0]?.links?.find((l) => l.kind === 'vxlan');
  if (vxlan) Object.assign(vxlan, { parent: 'eth0', vxlan: { vni: 7, port: 4789, learning: true } });
  return s;
}

/** The host forwards for a bridge of its own, too, and by the interface that is shared. */
function sharedAndTranslated(more: string[]): Snapshot {
  const s = macvlan([
    'ip link add br0 type bridge',
    'ip addr add 172.20.0.254/24 dev br0',
    ...container(3, 'br0'),
    ...more,
  ]);
  firewall(
    s,
    'host1',
    ['-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.20.0.4:80'],
    ['-A POSTROUTING -s 172.20.0.0/24 ! -o br0 -j MASQUERADE'],
  );
  return s;
}

/** Tunnels of kinds that tell both their ends, two of them between the same hosts. */
function tunnelled(): Snapshot {
  const hosts = [1, 2, 3].map((n): [string, NodeKind] => [`host${n}`, 'host']);
  const s = scene(
    [...hosts, ['sw', 'switch']],
    hosts.map(([h], i) => [`${h}:eth0`, `sw:port${i + 1}`]),
    hosts.flatMap(([h], i) => on(h, `ip addr add 10.0.0.${i + 1}/24 dev eth0`)),
  );
  const add = (
    host: number,
    name: string,
    kind: string,
    tunnel: Tunnel,
    more: Partial<Netdev> = {},
  ): void => {
    const links = s.nodes?.find((n) => n.id === `host${host}`)?.links;
    const rest = { mac: '', up: true, carrier: true, mtu: 1476, addresses: [], ...more };
    links?.push({ name, index: 20 + links.length, kind, tunnel, ...rest });
  };
  const [one, two, three] = ['10.0.0.1', '10.0.0.2', '10.0.0.3'];
  add(1, 'gre7', 'gre', { local: one, remote: two, key: 7 }, { addresses: ['192.168.7.1/24'] });
  add(2, 'gre7', 'gre', { local: two, remote: one, key: 7 }, { addresses: ['192.168.7.2/24'] });
  add(1, 'gre8', 'gre', { local: one, remote: two, key: 8 });
  add(2, 'ipip0', 'ipip', { local: two, remote: three }, { mtu: 1480 });
  add(3, 'ipip0', 'ipip', { local: three, remote: two }, { mtu: 1480 });
  add(1, 'gnv', 'geneve', { remote: three, key: 42 }, { mac: '02:00:00:00:07:01', mtu: 1450 });
  add(3, 'gnv', 'geneve', { remote: one, key: 42 }, { mac: '02:00:00:00:07:03', mtu: 1450 });
  return s;
}

/** A VXLAN between two hosts that see each other only through a tunnel in UDP, which is routed. */
function nested(): Snapshot {
  const s = scene(
    [...host1, ['host2', 'host'], ['r1', 'router']],
    [
      ['host1:eth0', 'r1:eth0'],
      ['host2:eth0', 'r1:eth1'],
    ],
    [
      ...['host1', 'host2'].flatMap((h, i) =>
        on(
          h,
          `ip addr add 10.0.${i}.10/24 dev eth0`,
          `socat TUN:192.168.9.${i + 1}/24,up UDP:10.0.${1 - i}.10:9000,bind=10.0.${i}.10:9000`,
          'ip link add br0 type bridge',
          ...container(i, 'br0'),
          'ip link add vxlan9 type vxlan',
          'ip link set vxlan9 master br0',
        ),
      ),
      ...on('r1', 'ip addr add 10.0.0.1/24 dev eth0', 'ip addr add 10.0.1.1/24 dev eth1'),
    ],
  );
  ['host1', 'host2'].forEach((h, i) => {
    const links = (s.nodes ?? []).find((n) => n.id === h)?.links ?? [];
    const link = links.find((l) => l.name === 'vxlan9');
    if (!link) return;
    const [local, remote] = [`192.168.9.${i + 1}`, `192.168.9.${2 - i}`];
    link.vxlan = { vni: 9, local, remote, port: 4789, learning: true };
    link.mtu = 1430;
  });
  return s;
}

/** What a program has made for itself: nobody gave it a name. */
function unnamed(): Snapshot {
  const s = scene(
    host1,
    [],
    on('host1', 'ip link add br0 type bridge', ...container(0, 'br0'), ...container(1)),
  );
  return JSON.parse(JSON.stringify(s).replaceAll('host1/c1', 'host1/net-4026532841')) as Snapshot;
}

function masquerading(): Snapshot {
  const s = scene(
    [...host1, ['r1', 'router'], ['internet', 'internet']],
    [
      ['host1:eth0', 'r1:eth0'],
      ['r1:eth1', 'internet:eth0'],
    ],
    [
      ...on('host1', 'ip addr add 10.0.0.10/24 dev eth0'),
      ...on('r1', 'ip addr add 10.0.0.1/24 dev eth0', 'ip addr add 203.0.113.7/24 dev eth1'),
      ...on('internet', 'ip addr add 203.0.113.1/24 dev eth0'),
    ],
  );
  firewall(s, 'r1', [], ['-A POSTROUTING -o eth1 -j MASQUERADE']);
  return s;
}

export const scenes: [string, Snapshot][] = [
  ...models.flatMap((m) => film(m).map((s, i): [string, Snapshot] => [`${m.id} after ${i} commands`, s])),
  ...Object.entries(odd),
];
