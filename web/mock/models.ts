// The four models of the curriculum as commands, for the mock and for tests.
import { sketch } from '../src/home/sketch';
import { netnsOf } from '../src/snapshot';
import type { FreeWorld, NodeKind, StepProbe } from '../src/wire';
import { ToyWorld } from './world';

export interface ModelStep {
  id: string;
  title: string;
  text: string;
  after?: string;
  do: [machine: string, command: string][];
  probes?: StepProbe[];
  predict?: { question: string; options: { id: string; text: string }[]; answer: string };
}

export interface Model {
  id: string;
  title: string;
  summary: string;
  track: string;
  minutes: number;
  machines: [string, NodeKind][];
  wires: [string, string][];
  setup: [string, string][];
  steps: ModelStep[];
}

export function build(m: Model): ToyWorld {
  const w = new ToyWorld(m.machines, m.wires);
  for (const [machine, command] of m.setup) w.run(machine, command);
  w.revision = 1;
  return w;
}

export const wires: [string, string][] = [
  ['host1:eth0', 'sw:port1'],
  ['host2:eth0', 'sw:port2'],
  ['r1:eth0', 'sw:port3'],
];
export const machines: [string, NodeKind][] = [
  ['host1', 'host'],
  ['host2', 'host'],
  ['sw', 'switch'],
  ['r1', 'router'],
];
export const setup: [string, string][] = [
  ['host1', 'ip addr add 10.0.0.10/24 dev eth0'],
  ['host2', 'ip addr add 10.0.0.20/24 dev eth0'],
  ['r1', 'ip addr add 10.0.0.1/24 dev eth0'],
];

export function bridge(host: string, net: number): [string, string][] {
  const lines = [
    'ip netns add kon1',
    'ip netns add kon2',
    'ip link add veth10 type veth peer name veth11',
    'ip link add veth20 type veth peer name veth21',
    'ip link set veth11 netns kon1',
    'ip link set veth21 netns kon2',
    `ip -n kon1 addr add 172.16.${net}.2/24 dev veth11`,
    `ip -n kon2 addr add 172.16.${net}.3/24 dev veth21`,
    'ip -n kon1 link set veth11 up',
    'ip -n kon2 link set veth21 up',
    'ip -n kon1 link set lo up',
    'ip -n kon2 link set lo up',
    'ip link add br0 type bridge',
    'ip link set veth10 master br0',
    'ip link set veth20 master br0',
    `ip addr add 172.16.${net}.1/24 dev br0`,
    'ip link set br0 up',
    'ip link set veth10 up',
    'ip link set veth20 up',
    `ip -n kon1 route add default via 172.16.${net}.1`,
    `ip -n kon2 route add default via 172.16.${net}.1`,
  ];
  return lines.map((l) => [host, l]);
}

/** Steps of a few commands each, where only the picture matters. */
const slices = (all: [string, string][], size: number): ModelStep[] =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, i) => ({
    id: `part${i + 1}`,
    title: `Part ${i + 1}`,
    text: '<p>Some of the commands.</p>',
    do: all.slice(i * size, (i + 1) * size),
  }));

const ping = (from: string, to: string): StepProbe => {
  const netns = netnsOf(from);
  const command = `${netns && `ip netns exec ${netns} `}ping -c 3 -W 1 ${to}`;
  return { from, kind: 'ping', to, count: 3, command };
};

export const models: Model[] = [
  {
    id: 'one-namespace',
    title: 'Model 1: one namespace, one cable',
    summary:
      'Make a network namespace, lay a cable from the host into it, and find out which routes both sides need.',
    track: 'a',
    minutes: 15,
    machines,
    wires,
    setup,
    steps: [
      {
        id: 'look-around',
        title: 'Make a namespace',
        text: '<p>A <strong>network namespace</strong> is a network stack of its own: interfaces, addresses, routes. A new one holds nothing but a loopback that is <em>down</em>.</p><p>Compare <code>ip link</code> on the host with <code>ip -n kon link</code> afterwards.</p>',
        do: [['host1', 'ip netns add kon']],
      },
      {
        id: 'cable',
        title: 'Lay the cable',
        text: '<p>A veth pair is a cable with two plugs. At first both lie on the host’s side; then one is pushed into <code>kon</code>.</p>',
        do: [
          ['host1', 'ip link add veth1 type veth peer name veth2'],
          ['host1', 'ip link set veth2 netns kon'],
        ],
      },
      {
        id: 'address',
        title: 'Give it an address and bring it up',
        text: '<p>The address goes on the plug inside the namespace. Nothing moves before both plugs are up.</p>',
        do: [
          ['host1', 'ip -n kon addr add 172.16.0.1/32 dev veth2'],
          ['host1', 'ip -n kon link set lo up'],
          ['host1', 'ip -n kon link set veth2 up'],
          ['host1', 'ip link set veth1 up'],
        ],
      },
      {
        id: 'unreachable',
        title: 'Try, and fail',
        text: '<p>Both plugs are up and there is an address. Is that enough?</p>',
        do: [],
        probes: [ping('host1', '172.16.0.1'), ping('host1/kon', '10.0.0.10')],
        predict: {
          question: '<p>What will <code>ping 172.16.0.1</code> on host1 say?</p>',
          options: [
            { id: 'works', text: 'It works: the cable is there.' },
            { id: 'silence', text: 'Nothing comes back.' },
            { id: 'unreachable', text: 'Network is unreachable.' },
          ],
          answer: 'unreachable',
        },
        after:
          '<p>Neither side had an entry that leads to the other: the kernel refused before a single packet left.</p>',
      },
      {
        id: 'routes',
        title: 'Tell both sides the way',
        text: '<p>One route on each side: the host learns where the namespace is, the namespace that everything else is on the cable.</p>',
        do: [
          ['host1', 'ip route add 172.16.0.1/32 dev veth1'],
          ['host1', 'ip -n kon route add default via 172.16.0.1 dev veth2'],
        ],
        probes: [ping('host1', '172.16.0.1'), ping('host1/kon', '10.0.0.10')],
      },
    ],
  },
  {
    id: 'one-host-bridge',
    title: 'Model 2: two namespaces on a bridge',
    summary:
      'Plug two namespaces into a bridge, give the bridge an address, and watch it learn who is where.',
    track: 'a',
    minutes: 20,
    machines,
    wires,
    setup,
    steps: slices(bridge('host1', 0), 4),
  },
  {
    id: 'two-hosts-l2',
    title: 'Model 3: two hosts on one network',
    summary: 'The same on two machines, and the routes that lead from one to the other.',
    track: 'b',
    minutes: 20,
    machines,
    wires,
    setup,
    steps: slices(
      [
        ...bridge('host1', 0),
        ...bridge('host2', 1),
        ['host1', 'ip route add 172.16.1.0/24 via 10.0.0.20'],
        ['host2', 'ip route add 172.16.0.0/24 via 10.0.0.10'],
        ['host1', 'sysctl -w net.ipv4.ip_forward=1'],
        ['host2', 'sysctl -w net.ipv4.ip_forward=1'],
      ],
      5,
    ),
  },
  {
    id: 'two-hosts-overlay-tun',
    title: 'Model 4: a tunnel through a router',
    summary: 'A router stands between the hosts. Carry the packets through it inside UDP.',
    track: 'b',
    minutes: 30,
    machines: [
      ['host1', 'host'],
      ['host2', 'host'],
      ['r1', 'router'],
    ],
    wires: [
      ['host1:eth0', 'r1:eth0'],
      ['host2:eth0', 'r1:eth1'],
    ],
    setup: [
      ['host1', 'ip addr add 10.0.0.10/24 dev eth0'],
      ['host2', 'ip addr add 10.0.1.20/24 dev eth0'],
      ['r1', 'ip addr add 10.0.0.1/24 dev eth0'],
      ['r1', 'ip addr add 10.0.1.1/24 dev eth1'],
    ],
    steps: slices(
      [
        ...bridge('host1', 0),
        ...bridge('host2', 1),
        ['host1', 'socat UDP:10.0.1.20:9000,bind=10.0.0.10:9000 TUN:172.16.0.100/16,tun-name=tun0,up'],
        ['host2', 'socat UDP:10.0.0.10:9000,bind=10.0.1.20:9000 TUN:172.16.1.100/16,tun-name=tun0,up'],
        ['host1', 'ip link set tun0 mtu 1492'],
        ['host2', 'ip link set tun0 mtu 1492'],
      ],
      5,
    ),
  },
];

/** A world of the learner's choice, with nothing to be done in it. */
export function free(world: FreeWorld = { hosts: 1, join: 'switch', internet: false, laptop: false }): Model {
  const { things } = sketch(world);
  const kinds: Record<string, NodeKind> = {
    sw: 'switch',
    r1: 'router',
    internet: 'internet',
    laptop: 'laptop',
  };
  const has = (name: string): boolean => things.some((t) => t.name === name);
  const wires: [string, string][] = [];
  const wire = (from: string, to: string): void =>
    void wires.push([from, `${to}:eth${String(wires.filter(([, end]) => end.startsWith(to)).length + 1)}`]);
  for (const { name } of things) {
    if (!(name in kinds) && (has('sw') || has('r1'))) wire(`${name}:eth0`, has('sw') ? 'sw' : 'r1');
    if (name === 'internet' || name === 'laptop') wire(`${name}:eth0`, 'r1');
  }
  if (has('sw') && has('r1')) wire('r1:eth0', 'sw');
  return {
    id: 'free-play',
    title: 'Free play',
    summary: '',
    track: '',
    minutes: 0,
    machines: things.map(({ name }) => [name, kinds[name] ?? 'host']),
    wires,
    setup: things
      .filter(({ name }) => name.startsWith('host') && wires.length > 0)
      .map(({ name }, i) => [name, `ip addr add 10.0.0.${String((i + 1) * 10)}/24 dev eth0`]),
    steps: [],
  };
}
