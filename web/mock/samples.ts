// What the gallery shows: one of everything, always the same.
import type { JourneyState, Row, Sighting } from '../src/packets/protocol';
import type {
  ExecResult,
  Lab,
  LabProgress,
  LabSummary,
  LeftOut,
  NodeKind,
  ProbeResult,
  Problem,
  Session,
  Snapshot,
  StepChanges,
  StepProgress,
} from '../src/wire';
import { build, models, type Model } from './models';
import { container, many, on, scene } from './scenes';

const at = '2026-03-02T09:30:00Z';

const first = models[0] as Model;
const bridged = models[1] as Model;

/** The world of a model after so many of its commands. */
export function worldAfter(m: Model, commands: number): Snapshot {
  const w = build(m);
  for (const [machine, command] of m.steps.flatMap((s) => s.do).slice(0, commands)) w.run(machine, command);
  return w.snapshot();
}

/** A world in which every table of the kernel has something to say. */
export const world: Snapshot = (() => {
  const s = worldAfter(bridged, 99);
  const host = s.nodes?.find((n) => n.id === 'host1');
  if (!host) throw new Error('there is no host1');
  host.routes = [
    { dst: '0.0.0.0/0', via: '10.0.0.1', dev: 'eth0', protocol: 'static' },
    ...(host.routes ?? []),
    { dst: '172.16.9.0/24', via: '10.0.0.20', dev: 'eth0', metric: 50, down: true },
  ];
  host.neighbours = [
    { ip: '172.16.0.2', mac: '02:00:00:00:00:0b', dev: 'br0', state: 'REACHABLE' },
    { ip: '172.16.0.3', mac: '02:00:00:00:00:0d', dev: 'br0', state: 'STALE' },
    { ip: '10.0.0.99', dev: 'eth0', state: 'FAILED' },
  ];
  host.fdb = [
    { mac: '02:00:00:00:00:0b', dev: 'veth10', master: 'br0' },
    { mac: '02:00:00:00:00:0d', dev: 'veth20', master: 'br0' },
    { mac: '33:33:00:00:00:01', dev: 'br0', state: 'permanent' },
  ];
  host.rules = [
    { priority: 0, text: 'from all lookup local' },
    { priority: 32766, text: 'from all lookup main' },
  ];
  host.sockets = [{ protocol: 'tcp', local: '0.0.0.0:80' }];
  host.sysctls = { 'net.ipv4.ip_forward': '1', 'net.ipv4.conf.all.rp_filter': '0' };
  const chain = { tool: 'iptables', family: 'ip', packets: 12, bytes: 1008 };
  host.firewall = [
    {
      ...chain,
      table: 'nat',
      name: 'POSTROUTING',
      policy: 'ACCEPT',
      rules: [{ text: '-A POSTROUTING -s 172.16.0.0/24 -o eth0 -j MASQUERADE', packets: 3, bytes: 252 }],
    },
    {
      ...chain,
      table: 'filter',
      name: 'FORWARD',
      policy: 'DROP',
      rules: [
        { text: '-A FORWARD -i br0 -j ACCEPT', packets: 9, bytes: 756 },
        { text: '-A FORWARD -m state --state RELATED,ESTABLISHED -j ACCEPT', packets: 3, bytes: 252 },
      ],
    },
  ];
  const plug = host.links?.find((l) => l.name === 'veth20');
  if (plug) Object.assign(plug, { up: false, carrier: false, alias: 'Kabel: a loop was here' });
  return s;
})();

/** A world in which all works. */
export const plugged: Snapshot = worldAfter(bridged, 99);

// ---- labs

const summary = (m: Model): LabSummary => ({
  id: m.id,
  title: m.title,
  summary: m.summary,
  track: m.track,
  minutes: m.minutes,
  variants:
    m === first
      ? [
          { id: 'english', title: 'kon, 172.16.0.1' },
          { id: 'korean', title: 'red, 192.168.0.1' },
        ]
      : [],
  steps: m.steps.map((s) => ({
    id: s.id,
    title: s.title,
    commands: s.do.map(([node, command]) => ({ node, command })),
  })),
});
export const labs: LabSummary[] = models.map(summary);

/** Labs with mistakes, as their author is told of them. */
export const leftOut: LeftOut[] = [
  {
    id: 'same-wire',
    mistakes: [
      'same-wire/lab.yaml:24:5: the key "chek" is not known here: there are check, do, hints, id, on, predict, probes, wrong (did you mean "check"?)',
    ],
  },
  {
    id: 'two-vlans',
    mistakes: [
      'two-vlans/lab.yaml:31:18: there is no node \'host9\' in this lab (did you mean "host1"?)',
      'two-vlans/en.md:12:1: the heading "## step tags" has no title: write ## step ID: title',
    ],
  },
];

const labOf = (m: Model): Lab => {
  const about = summary(m);
  const steps = about.steps.map((s, i) => {
    const { text, after, probes, predict } = m.steps[i] ?? {};
    return {
      ...s,
      ...(text && { text }),
      ...(after && { after }),
      ...(probes && { probes }),
      ...(predict && { predict: { question: predict.question, options: predict.options } }),
    };
  });
  const intro = '<p>Two machines, a switch and a router. <strong>host1</strong> is where you work.</p>';
  return { ...about, intro, language: 'en', steps };
};
export const lab = labOf(first);
export const bridgeLab = labOf(bridged);

/** A session in which the first of the steps are done. */
export function sessionOf(of: Lab, done: number, more: Partial<Session> = {}): Session {
  const steps = of.steps.map((s, i): StepProgress => ({ id: s.id, state: i < done ? 'done' : 'todo' }));
  const current = of.steps[done]?.id;
  const said = { id: 'lab', lab: of.id, variant: '', language: 'en', state: 'ready' as const };
  return {
    ...said,
    steps,
    nodes: (world.nodes ?? []).map((n) => n.id),
    ...(current && { current }),
    ...more,
  };
}

/** The same with something else said of one step. */
export const saying = (s: Session, step: string, more: Partial<StepProgress>): Session => ({
  ...s,
  steps: s.steps.map((one) => (one.id === step ? { ...one, ...more } : one)),
});

const record = (of: LabSummary, steps: number, more: Partial<LabProgress> = {}): LabProgress => ({
  lab: of.id,
  variant: 'default',
  session: `kept-${of.id}`,
  alive: false,
  started: '2026-03-02T08:00:00Z',
  last: at,
  steps: of.steps.slice(0, steps).map((s) => ({
    id: s.id,
    done_at: at,
    seconds: 95,
    attempts: 1,
    hints: 0,
    predicted: '',
  })),
  total_steps: of.steps.length,
  ...more,
});
/** One lab is done, one is begun, the others wait. */
export const progress = {
  labs: labs
    .slice(0, 2)
    .map((l, i) => (i === 0 ? record(l, l.steps.length, { done_at: at }) : record(l, 2, { alive: true }))),
};

export const glossary = [
  {
    id: 'veth',
    name: 'veth pair',
    english: 'veth pair',
    text: 'A cable with two plugs, made by the kernel.',
  },
];

// ---- what went wrong, and what came of it

export const problems = {
  'nobody answers': { code: 'unreachable', title: '' },
  'no answer of ours': { code: 'bad-answer', title: '', status: 502 },
  'all places are taken': {
    code: 'full',
    title: 'All places are taken',
    detail: 'This server has room for: 40.',
    status: 503,
  },
  'the server failed': {
    code: 'internal',
    title: 'The server failed',
    detail: 'It has noted why.',
    status: 500,
  },
} satisfies Record<string, Problem>;
export const failed: Problem = {
  code: 'op-failed',
  title: 'The command failed',
  detail: 'RTNETLINK answers: File exists',
  command: 'ip link add veth1 type veth peer name veth2',
  node: 'host1',
  errno: 'EEXIST',
  applied: 0,
  status: 422,
};

const outcome = (
  kind: ProbeResult['probe']['kind'],
  to: string,
  more: Partial<ProbeResult>,
): ProbeResult => ({ probe: { from: 'host1', kind, to }, ok: false, sent: 3, received: 0, at, ...more });
export const outcomes: ProbeResult[] = [
  outcome('ping', '172.16.0.2', { ok: true, received: 3, rtt_ms: 0.0432 }),
  outcome('ping', '172.16.0.3', { ok: true, received: 1 }),
  outcome('ping', '10.9.9.9', { reason: 'network-unreachable' }),
  outcome('ping', '10.0.0.99', { reason: 'host-unreachable', detail: ['10.0.0.1'] }),
  outcome('tcp', '10.0.0.20:80', { reason: 'connection-refused' }),
  outcome('udp', '10.0.0.20:53', { reason: 'port-unreachable' }),
  outcome('http', 'http://10.0.0.20/', { ok: true, sent: 1, received: 1, detail: ['HTTP/1.1 200 OK'] }),
  outcome('dns', 'example.com', { reason: 'no-such-name' }),
  outcome('traceroute', '8.8.8.8', {
    reason: 'no-answer',
    detail: ['1  10.0.0.1  0.05 ms', '2  *', '3  8.8.8.8  0.11 ms'],
  }),
  outcome('ping', '10.0.0.20', { reason: 'something-new' }),
];

export const exec: ExecResult = {
  exit_code: 2,
  stdout: '1: lo: <LOOPBACK> mtu 65536\n2: eth0: <BROADCAST,UP> mtu 1500\n',
  stderr: 'Device "veth9" does not exist.\n',
  truncated: true,
  timed_out: true,
};

export const changes: StepChanges = { from: worldAfter(bridged, 4), to: worldAfter(bridged, 99) };

// ---- packets

const way: [node: string, link: string, out: boolean][] = [
  ['host1/kon1', 'veth11', true],
  ['host1', 'veth10', false],
  ['host1', 'veth20', true],
  ['host1/kon2', 'veth21', false],
];
const sightings = (row: number, places: number): Sighting[] =>
  way.slice(0, places).map(([node, link, out], i) => ({
    no: row * 10 + i,
    node,
    link,
    out,
    at: row * 250_000 + i * 7,
    length: 98,
    ...(i > 0 && { after: row * 10 + i - 1 }),
    ...(i === 2 && { changes: [{ field: 'ttl', from: '64', to: '63' }] }),
  }));
const row = (
  id: number,
  protocol: string,
  info: string,
  state: JourneyState,
  places = way.length,
  more: Partial<Row> = {},
): Row => ({
  id,
  at: id * 250_000,
  protocol,
  source: '172.16.0.2',
  destination: '172.16.0.3',
  info,
  length: 98,
  state,
  sightings: sightings(id, places),
  ...more,
});
/** The packet whose bytes nobody has any more. */
export const forgotten = 30;
export const rows: Row[] = [
  row(1, 'ARP', 'who has 172.16.0.3? tell 172.16.0.2', 'answered'),
  row(2, 'ICMP', 'echo request id=1 seq=1', 'answered', 4, { answered_by: 3 }),
  row(3, 'ICMP', 'echo reply id=1 seq=1', 'delivered', 4, { answers: 2 }),
  row(4, 'TCP', '40312 → 80 [SYN] seq=0 win=64240', 'gone', 2),
  row(5, 'UDP', '5353 → 53', 'unsure', 3),
  row(6, 'DNS', 'A? example.com', 'in-flight', 1),
  row(7, 'HTTP', 'GET / HTTP/1.1', 'delivered'),
  row(8, 'VXLAN', 'vni 100, 10.0.0.10 → 10.0.0.20', 'delivered'),
  row(9, 'IPv6', 'neighbor solicitation who has fe80::42', 'gone', 1, {
    source: 'fe80::ff:fe00:b',
    destination: 'ff02::1:ff00:42',
  }),
];

// ---- shells

const green = (s: string): string => `\x1b[1;32m${s}\x1b[m`;
export const prompt = `${green('root@host1')}:\x1b[1;34m~\x1b[m# `;
export const shell = `${prompt}ip -br addr
lo               \x1b[32mUNKNOWN\x1b[m        127.0.0.1/8
eth0             \x1b[32mUP\x1b[m             10.0.0.10/24
veth10           \x1b[32mUP\x1b[m
br0              \x1b[32mUP\x1b[m             172.16.0.1/24
${prompt}ping -c 1 10.9.9.9
ping: connect: \x1b[31mNetwork is unreachable\x1b[m
${prompt}`;
export const flood = `${prompt}yes\n${'y\n'.repeat(30)}`;
export const bye = `${prompt}exit\nexit\n`;

// ---- the demo

const born = [{ id: 'ping', title: 'red pings blue, and blue answers', commands: [] }];
export const demoLab: Lab = {
  ...summary(bridged),
  id: 'demo',
  language: 'en',
  title: 'A living network',
  steps: born,
};
export const demoSession: Session = {
  id: 'demo',
  lab: 'demo',
  variant: '',
  language: 'en',
  state: 'ready',
  steps: [{ id: 'ping', state: 'done' }],
  nodes: [],
};

// ---- a world that is busy

const crowd = 9; // hosts, with ten namespaces each

/** A hundred nodes: hosts on a switch, with namespaces on a bridge each. */
export const crowded: Snapshot = scene(
  [...many(crowd, (i): [string, NodeKind] => [`host${i + 1}`, 'host']), ['sw', 'switch']],
  many(crowd, (i): [string, string] => [`host${i + 1}:eth0`, `sw:port${i + 1}`]),
  many(crowd, (i) =>
    on(`host${i + 1}`, 'ip link add br0 type bridge', ...many(10, (k) => container(k, 'br0')).flat()),
  ).flat(),
);

/** The nth packet of that world: from one namespace to the next on its host. */
export function passing(n: number): Row {
  const [host, from] = [`host${(n % crowd) + 1}`, n % 10];
  const to = (from + 1) % 10;
  const places: [string, string, boolean][] = [
    [`${host}/c${from}`, `w${from}`, true],
    [host, `v${from}`, false],
    [host, `v${to}`, true],
    [`${host}/c${to}`, `w${to}`, false],
  ];
  const at = n * 250;
  const seen = places.map(([node, link, out], i) => {
    const no = n * places.length + i;
    return { no, node, link, out, at: at + i * 7, length: 98, ...(i > 0 && { after: no - 1 }) };
  });
  const ends = { source: `172.20.0.${from + 1}`, destination: `172.20.0.${to + 1}` };
  const about = { protocol: 'ICMP', info: `echo request id=1 seq=${n}`, length: 98 };
  return { id: n + 1, at, ...ends, ...about, state: 'delivered', sightings: seen };
}
