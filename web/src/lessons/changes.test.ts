import { expect, test } from 'vitest';
import { film } from '../../mock/scenes';
import { models } from '../../mock/models';
import { changedBetween } from '../snapshot';
import type { FdbEntry, Netdev, Node, NodeId, Snapshot } from '../wire';
import { changesBetween, routeText } from './changes';

const node = (id: NodeId, more: Partial<Node> = {}): Node => ({
  id,
  kind: id.includes('/') ? 'netns' : 'host',
  links: [],
  routes: [],
  rules: [],
  neighbours: [],
  fdb: [],
  firewall: [],
  sockets: [],
  sysctls: {},
  counters: {},
  ...more,
});

const link = (name: string, index: number, more: Partial<Netdev> = {}): Netdev => ({
  name,
  index,
  kind: 'veth',
  up: false,
  carrier: false,
  mac: `06:00:00:00:00:0${index}`,
  mtu: 1500,
  addresses: [],
  ...more,
});

const world = (...nodes: Node[]): Snapshot => ({ revision: 1, nodes });
const vxlan = { vni: 1, port: 4789, learning: true };
const entry = (mac: string, dst: string): FdbEntry => ({ mac, dev: 'vxlan1', dst, state: 'permanent' });
const chain = (name: string, policy: string, ...rules: string[]): Node['firewall'] => [
  {
    tool: 'iptables',
    family: 'ip',
    table: 'filter',
    name,
    ...(policy && { policy }),
    packets: 0,
    bytes: 0,
    rules: rules.map((text) => ({ text, packets: 0, bytes: 0 })),
  },
];

/** Each change as: node sign key values. */
const said = (a: Snapshot, b: Snapshot): string[] =>
  changesBetween(a, b).flatMap((g) =>
    g.changes.map((c) => [g.node, c.sign, c.key, ...Object.values(c.params)].join(' ')),
  );

const [zero, other] = ['00:00:00:00:00:00', '06:00:00:00:00:09'];

test.each<[what: string, before: Node[], after: Node[], said: string[]]>([
  [
    'a namespace is made; its loopback is no news',
    [node('host1')],
    [node('host1'), node('host1/kon', { links: [link('lo', 1, { kind: 'loopback' })] })],
    ['host1 + change.netns.add kon'],
  ],
  [
    'a namespace goes with all that is in it',
    [node('host1'), node('host1/kon', { links: [link('v', 2)] })],
    [node('host1')],
    ['host1 − change.netns.del kon'],
  ],
  [
    'a cable is made and half of it put into a new namespace',
    [node('host1')],
    [
      node('host1', { links: [link('veth1', 2, { peer: 'host1/kon:veth2' })] }),
      node('host1/kon', { links: [link('veth2', 3, { peer: 'host1:veth1', addresses: ['172.16.0.1/32'] })] }),
    ],
    [
      'host1 + change.netns.add kon',
      'host1 + change.link.cableTo veth1 veth2 host1/kon',
      'host1/kon + change.link.cableTo veth2 veth1 host1',
      'host1/kon + change.address.add 172.16.0.1/32 veth2',
    ],
  ],
  [
    'both ends on one machine',
    [node('host1')],
    [node('host1', { links: [link('a', 2, { peer: 'host1:b' }), link('b', 3, { peer: 'host1:a' })] })],
    ['host1 + change.link.cable a b', 'host1 + change.link.cable b a'],
  ],
  [
    'an interface moves, and loses its address and its name on the way',
    [
      node('host1', { links: [link('v', 2, { up: true, carrier: true, addresses: ['10.1.0.1/24'] })] }),
      node('host1/kon'),
    ],
    [node('host1'), node('host1/kon', { links: [link('eth0', 2)] })],
    [
      'host1 − change.link.left v host1/kon',
      'host1/kon + change.link.cameAs eth0 host1 v',
      'host1/kon ~ change.link.state.down eth0',
      'host1/kon − change.address.del 10.1.0.1/24 eth0',
    ],
  ],
  [
    'an interface is renamed',
    [node('host1', { links: [link('old', 2)] })],
    [node('host1', { links: [link('new', 2)] })],
    ['host1 ~ change.link.renamed old new'],
  ],
  [
    'an interface is deleted and made again',
    [node('host1', { links: [link('v', 2)] })],
    [node('host1', { links: [link('v', 3)] })],
    ['host1 − change.link.del v', 'host1 + change.link.add v veth'],
  ],
  [
    'an interface gets up without a signal',
    [node('host1', { links: [link('v', 2)] })],
    [node('host1', { links: [link('v', 2, { up: true })] })],
    ['host1 ~ change.link.state.no-carrier v'],
  ],
  [
    'the loopback gets up with its addresses',
    [node('host1/kon', { links: [link('lo', 1, { kind: 'loopback', mac: zero })] })],
    [
      node('host1/kon', {
        links: [
          link('lo', 1, {
            kind: 'loopback',
            mac: zero,
            up: true,
            carrier: true,
            addresses: ['127.0.0.1/8', '::1/128'],
          }),
        ],
      }),
    ],
    ['host1/kon ~ change.link.state.up lo'],
  ],
  [
    'a bridge is made, up, with a port',
    [node('host1', { links: [link('v', 2)] })],
    [
      node('host1', {
        links: [
          link('v', 2, { master: 'br0' }),
          link('br0', 3, {
            kind: 'bridge',
            up: true,
            carrier: true,
            bridge: { stp: true, vlan_filtering: false },
          }),
        ],
      }),
    ],
    [
      'host1 + change.link.add br0 bridge',
      'host1 + change.attached v br0',
      'host1 ~ change.link.state.up br0',
      'host1 ~ change.bridge br0 stp 1',
    ],
  ],
  [
    'a port changes its bridge; the MAC address that a bridge takes from a port is no news',
    [node('host1', { links: [link('v', 2, { master: 'br0' }), link('br0', 3, { kind: 'bridge' })] })],
    [
      node('host1', {
        links: [link('v', 2, { master: 'br1' }), link('br0', 3, { kind: 'bridge', mac: other })],
      }),
    ],
    ['host1 − change.detached v br0', 'host1 + change.attached v br1'],
  ],
  [
    'MTU, MAC address and VXLAN',
    [node('host1', { links: [link('x', 2, { kind: 'vxlan', vxlan })] })],
    [
      node('host1', {
        links: [link('x', 2, { kind: 'vxlan', mtu: 1450, mac: other, vxlan: { ...vxlan, learning: false } })],
      }),
    ],
    [
      'host1 ~ change.mtu x 1500 1450',
      `host1 ~ change.mac x 06:00:00:00:00:02 ${other}`,
      'host1 ~ change.vxlan x id 1 dstport 4789 id 1 dstport 4789 nolearning',
    ],
  ],
  [
    'where a tunnel leads',
    [node('host1', { links: [link('g', 2, { kind: 'gre', tunnel: { local: '10.0.0.1', key: 7 } })] })],
    [
      node('host1', {
        links: [link('g', 2, { kind: 'gre', tunnel: { local: '10.0.0.1', remote: '10.0.0.2', key: 7 } })],
      }),
    ],
    ['host1 ~ change.tunnel g 10.0.0.1 → *, key 7 10.0.0.1 → 10.0.0.2, key 7'],
  ],
  [
    'how an interface is shared',
    [node('host1', { links: [link('m', 2, { kind: 'macvlan', mode: 'bridge' })] })],
    [
      node('host1', {
        links: [
          link('m', 2, { kind: 'macvlan', mode: 'private' }),
          link('n', 3, { kind: 'macvlan', mode: 'vepa' }),
        ],
      }),
    ],
    ['host1 + change.link.add n macvlan vepa', 'host1 ~ change.mode m macvlan bridge private'],
  ],
  [
    'a link-local address is no news',
    [node('host1', { links: [link('v', 2)] })],
    [node('host1', { links: [link('v', 2, { addresses: ['fe80::1/64'] })] })],
    [],
  ],
  [
    'routes come, go, lead elsewhere, die',
    [
      node('host1', {
        routes: [
          { dst: '0.0.0.0/0', via: '10.0.0.1', dev: 'eth0' },
          { dst: '10.1.0.0/24', dev: 'a' },
          { dst: '10.2.0.0/24', dev: 'a' },
        ],
      }),
    ],
    [
      node('host1', {
        routes: [
          { dst: '0.0.0.0/0', via: '10.0.0.2', dev: 'eth0' },
          { dst: '10.2.0.0/24', dev: 'a', down: true },
          { dst: '172.16.0.1/32', dev: 'b' },
          { dst: '10.3.0.0/24', dev: 'b', protocol: 'kernel' },
        ],
      }),
    ],
    [
      'host1 ~ change.route.other default via 10.0.0.2 dev eth0 default via 10.0.0.1 dev eth0',
      'host1 − change.route.del 10.1.0.0/24 dev a',
      'host1 + change.route.add 172.16.0.1 dev b',
      'host1 + change.route.kernel 10.3.0.0/24 dev b',
      'host1 ~ change.route.dead 10.2.0.0/24 dev a',
    ],
  ],
  [
    'the first of two equal routes goes',
    [node('host1', { routes: ['a', 'b'].map((dev) => ({ dst: '10.1.0.0/24', dev })) })],
    [node('host1', { routes: [{ dst: '10.1.0.0/24', dev: 'b' }] })],
    ['host1 − change.route.del 10.1.0.0/24 dev a'],
  ],
  [
    'neighbours by hand, not those that were learned',
    [node('host1', { neighbours: [{ ip: '10.0.0.9', mac: zero, dev: 'v', state: 'permanent' }] })],
    [
      node('host1', {
        neighbours: [
          { ip: '10.0.0.9', mac: other, dev: 'v', state: 'permanent' },
          { ip: '10.0.0.8', mac: other, dev: 'v', state: 'permanent' },
          { ip: '10.0.0.7', mac: other, dev: 'v', state: 'reachable' },
        ],
      }),
    ],
    [
      `host1 ~ change.neighbour.other 10.0.0.9 ${other} v ${zero}`,
      `host1 + change.neighbour.add 10.0.0.8 ${other} v`,
    ],
  ],
  [
    'entries of a VXLAN, not what a bridge has learned or has of itself',
    [node('host1', { fdb: [entry(other, '10.0.0.1'), entry(zero, '10.0.0.1')] })],
    [
      node('host1', {
        fdb: [
          entry(other, '10.0.0.2'),
          entry(zero, '10.0.0.1'),
          entry(zero, '10.0.0.2'),
          { mac: other, dev: 'v', master: 'br0', state: 'static' },
          { mac: other, dev: 'w', master: 'br0', state: 'permanent' },
          { mac: other, dev: 'w', master: 'br0' },
        ],
      }),
    ],
    [
      `host1 ~ change.fdb.other ${other} vxlan1 10.0.0.2 10.0.0.1`,
      `host1 + change.flood.add ${zero} vxlan1 10.0.0.2`,
      `host1 + change.port.add ${other} v `,
    ],
  ],
  [
    'routing rules',
    [node('host1', { rules: [{ priority: 100, text: 'from 10.0.0.1 lookup 7' }] })],
    [node('host1', { rules: [{ priority: 200, text: 'from 10.0.0.1 lookup 7' }] })],
    [
      'host1 − change.rule.del 100: from 10.0.0.1 lookup 7',
      'host1 + change.rule.add 200: from 10.0.0.1 lookup 7',
    ],
  ],
  [
    'a chain that appears with its policy is news only if it does not accept',
    [node('host1')],
    [
      node('host1', {
        firewall: [...(chain('INPUT', 'ACCEPT') ?? []), ...(chain('FORWARD', 'DROP', '-j LOG') ?? [])],
      }),
    ],
    ['host1 ~ change.policy filter FORWARD ACCEPT DROP', 'host1 + change.firewall.add filter FORWARD -j LOG'],
  ],
  [
    'chains of one’s own, rules that go, rules in another order',
    [
      node('host1', {
        firewall: [...(chain('OLD', '') ?? []), ...(chain('FORWARD', 'DROP', 'a', 'b', 'c') ?? [])],
      }),
    ],
    [
      node('host1', {
        firewall: [...(chain('NEW', '') ?? []), ...(chain('FORWARD', 'DROP', 'c', 'a') ?? [])],
      }),
    ],
    [
      'host1 − change.chain.del filter OLD',
      'host1 − change.firewall.del filter FORWARD b',
      'host1 ~ change.firewall.order filter FORWARD',
      'host1 + change.chain.add filter NEW',
    ],
  ],
  [
    'settings that were there before, not those of a new interface',
    [node('host1', { sysctls: { 'net.ipv4.ip_forward': '0' } })],
    [node('host1', { sysctls: { 'net.ipv4.ip_forward': '1', 'net.ipv4.conf.v.rp_filter': '0' } })],
    ['host1 ~ change.sysctl net.ipv4.ip_forward 0 1'],
  ],
  [
    'sockets',
    [node('host1', { sockets: [{ protocol: 'tcp', local: '0.0.0.0:80' }] })],
    [node('host1', { sockets: [{ protocol: 'udp', local: '10.0.0.10:9000', remote: '10.0.1.20:9000' }] })],
    [
      'host1 − change.socket.del tcp 0.0.0.0:80',
      'host1 + change.socket.add udp 10.0.0.10:9000 → 10.0.1.20:9000',
    ],
  ],
  [
    'what packets leave behind is no news',
    [node('host1', { firewall: chain('FORWARD', 'DROP', 'a') })],
    [
      node('host1', {
        counters: { 'Icmp.InEchos': 3 },
        neighbours: [{ ip: '10.0.0.7', mac: other, dev: 'v', state: 'stale' }],
        firewall: (chain('FORWARD', 'DROP', 'a') ?? []).map((c) => ({ ...c, packets: 9 })),
      }),
    ],
    [],
  ],
])('%s', (_, before, after, wanted) => {
  expect(said(world(...before), world(...after))).toEqual(wanted);
});

test('nothing is said of a world that is as it was, and something of every world that is not', () => {
  for (const states of models.map(film)) {
    for (const [i, s] of states.entries()) {
      expect(said(s, structuredClone(s))).toEqual([]);
      const next = states[i + 1];
      if (next && changedBetween(s, next).size > 0) expect(said(s, next)).not.toEqual([]);
    }
  }
});

test('every change names a command of its machine and a thing of the picture that is there', () => {
  for (const states of models.map(film)) {
    const [first, last] = [states[0], states.at(-1)];
    if (!first || !last) continue;
    const ids = new Set(
      (last.nodes ?? []).flatMap((n) => [n.id, ...(n.links ?? []).map((l) => `${n.id}:${l.name}`)]),
    );
    for (const { node: id, changes } of changesBetween(first, last)) {
      for (const c of changes) {
        expect(ids).toContain(c.at);
        if (id.includes('/') && c.key !== 'change.netns.add')
          expect(c.command).toMatch(/^(ip|bridge) (-n|netns exec) kon/);
      }
    }
  }
});

test.each([
  [{ dst: '0.0.0.0/0', via: '10.0.0.1', dev: 'eth0' }, 'default via 10.0.0.1 dev eth0'],
  [{ dst: '172.16.0.1/32', dev: 'veth1', scope: 'link' }, '172.16.0.1 dev veth1'],
  [
    { dst: '10.244.1.0/24', via: '10.244.1.0', dev: 'flannel.1', onlink: true },
    '10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink',
  ],
  [{ dst: 'fd00::1/128', dev: 'v', metric: 1024, table: 7 }, 'fd00::1 dev v metric 1024 table 7'],
  [{ dst: '10.9.0.0/16', type: 'blackhole' }, 'blackhole 10.9.0.0/16'],
])('a route as ip shows it: %j', (route, text) => {
  expect(routeText(route)).toBe(text);
});
