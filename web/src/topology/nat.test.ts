import { expect, test } from 'vitest';
import { translated } from '../../mock/scenes';
import type { Chain, Node, Snapshot } from '../wire';
import { masquerades, published, publishedText } from './nat';
import { World } from './world';

/** A host (eth0 10.0.2.15, br0 172.20.0.254) with containers at 172.20.0.1 to .3 and these rules in its nat table. */
function host(tool: string, chain: string, ...rules: string[]): { node: Node; world: World } {
  const snapshot: Snapshot = translated([], []);
  const node = snapshot.nodes?.[0] as Node;
  const nat: Chain = { tool, family: 'ip', table: 'nat', name: chain, packets: 0, bytes: 0, rules: [] };
  node.firewall = [{ ...nat, rules: rules.map((text) => ({ text, packets: 0, bytes: 0 })) }];
  return { node, world: new World(snapshot) };
}

test.each([
  [
    'iptables',
    '-A POSTROUTING -s 172.20.0.0/24 ! -o br0 -j MASQUERADE',
    [['eth0', '172.20.0.0/24', undefined]],
  ],
  ['iptables', '-A POSTROUTING -o eth0 -j MASQUERADE', [['eth0', undefined, undefined]]],
  ['iptables', '-A POSTROUTING -o br0 -j MASQUERADE', [['br0', undefined, undefined]]],
  ['iptables', '-A POSTROUTING -j MASQUERADE', [['eth0', undefined, undefined]]],
  ['iptables', '-A POSTROUTING -o eth+ -j SNAT --to-source 10.0.2.15', [['eth0', undefined, '10.0.2.15']]],
  ['iptables', '-A POSTROUTING -o eth9 -j MASQUERADE', []],
  ['iptables', '-A POSTROUTING -o eth0 -j ACCEPT', []],
  [
    'nft',
    'ip saddr 172.20.0.0/24 oifname != "br0" counter masquerade',
    [['eth0', '172.20.0.0/24', undefined]],
  ],
  ['nft', 'oif "eth0" snat to 10.0.2.15', [['eth0', undefined, '10.0.2.15']]],
])('%s: %s', (tool, rule, wanted) => {
  const { node, world } = host(tool, 'POSTROUTING', rule);
  expect(masquerades(node, world).map((m) => [m.on.link.name, m.source, m.to])).toEqual(wanted);
});

test.each([
  [
    'iptables',
    '-A PREROUTING -d 10.0.2.15/32 -p tcp -m tcp --dport 5000 -j DNAT --to-destination 172.20.0.1:80',
    [['eth0', 'tcp', ':5000 → 172.20.0.1:80', 'host1/c0']],
  ],
  [
    'iptables',
    '-A DOCKER ! -i br0 -p udp -m udp --dport 53 -j DNAT --to-destination 172.20.0.3',
    [['eth0', 'udp', ':53 → 172.20.0.3:53', 'host1/c2']],
  ],
  [
    'nft',
    'iifname "eth0" tcp dport 8080 counter dnat to 172.20.0.2:80',
    [['eth0', 'tcp', ':8080 → 172.20.0.2:80', 'host1/c1']],
  ],
  ['nft', 'tcp dport 8080 dnat to 192.0.2.9:80', [['eth0', 'tcp', ':8080 → 192.0.2.9:80', undefined]]],
  ['iptables', '-A PREROUTING -p tcp -m tcp --dport 22 -j ACCEPT', []],
])('%s: %s', (tool, rule, wanted) => {
  const { node, world } = host(tool, 'PREROUTING', rule);
  const found = published(node, world).map((p) => [
    p.on.link.name,
    p.protocol,
    publishedText(p),
    p.target?.node.id,
  ]);
  expect(found).toEqual(wanted);
});

test('what the host sends itself is not published', () => {
  const rule = '-A OUTPUT -p tcp -m tcp --dport 5000 -j DNAT --to-destination 172.20.0.1:80';
  const { node, world } = host('iptables', 'OUTPUT', rule);
  expect(published(node, world)).toEqual([]);
});
