import { expect, test } from 'vitest';
import { build, models, type Model } from '../../mock/models';
import type { Netdev, Node } from '../wire';
import { cableFaults, factsOf, whatSetting } from './facts';
import { changedKeys } from './fresh.svelte';
import { cellText, chainsOf, onNode, tablesOf } from './tables';

const world = build(models[0] as Model);
for (const [machine, command] of (models[0] as Model).steps.flatMap((s) => s.do)) world.run(machine, command);
const node = (id: string): Node => world.snapshot().nodes?.find((n) => n.id === id) as Node;

test.each([
  ['host1', 'ip route', 'ip route'],
  ['host1/kon', 'ip route', 'ip -n kon route'],
  ['host1/kon', 'bridge fdb show', 'bridge -n kon fdb show'],
  ['host1/kon', 'ss -lntua', 'ip netns exec kon ss -lntua'],
])('in %s, %s is typed as %s', (id, command, typed) => {
  expect(onNode(node(id), command)).toBe(typed);
});

test('a namespace shows its routes with the command that shows them', () => {
  const routes = tablesOf(node('host1/kon')).find((t) => t.title === 'inspect.routes');
  expect(routes?.command).toBe('ip -n kon route');
  expect(routes?.rows.map((r) => r.slice(0, 3).map(cellText))).toEqual([['default', '172.16.0.1', 'veth2']]);
});

test('an interface shows what concerns it only', () => {
  const host1 = node('host1');
  const veth1 = host1.links?.find((l) => l.name === 'veth1');
  const tables = tablesOf(host1, veth1);
  expect(tables[0]?.rows.map((r) => r[0])).toEqual(['veth1']);
  expect(tables.find((t) => t.title === 'inspect.routes')?.rows.map((r) => r[0])).toEqual(['172.16.0.1/32']);
});

test.each([
  ['iptables', 'ip', 'iptables -t filter -vnL FORWARD'],
  ['iptables-legacy', 'ip', 'iptables-legacy -t filter -vnL FORWARD'],
  ['iptables', 'ip6', 'ip6tables -t filter -vnL FORWARD'],
  ['nft', 'inet', 'nft list chain inet filter FORWARD'],
])('a chain of %s (%s) is shown by %s', (tool, family, command) => {
  const chain = {
    tool,
    family,
    table: 'filter',
    name: 'FORWARD',
    policy: 'DROP',
    packets: 1,
    bytes: 84,
    rules: null,
  };
  const [shown] = chainsOf({ ...node('host1'), firewall: [chain] });
  expect(shown).toMatchObject({ command, policy: 'DROP', rules: [] });
});

test('a value is shown with its command, and leads to what it names', () => {
  const kon = node('host1/kon');
  const veth2 = kon.links?.find((l) => l.name === 'veth2') as Netdev;
  const facts = factsOf(kon, veth2);
  expect(facts.find((f) => f.label === 'col.addresses')).toMatchObject({
    value: '172.16.0.1/32',
    command: 'ip -n kon addr show dev veth2',
  });
  expect(facts.find((f) => f.label === 'col.peer')?.value).toEqual({
    to: 'host1:veth1',
    text: 'veth1 on host1',
  });
});

test.each([
  ['gre', ['col.local 10.0.0.1', 'col.remote 10.0.0.2', 'col.tunnelKey 7']],
  ['geneve', ['col.local 10.0.0.1', 'col.remote 10.0.0.2', 'col.vni 7']],
])('a tunnel of kind %s shows where it leads', (kind, wanted) => {
  const own = node('host1').links?.[1] as Netdev;
  const tunnel = { ...own, name: 't0', kind, tunnel: { local: '10.0.0.1', remote: '10.0.0.2', key: 7 } };
  const facts = factsOf(node('host1'), tunnel).filter((f) => /local|remote|Key|vni/.test(f.label));
  expect(facts.map((f) => `${f.label} ${cellText(f.value)}`)).toEqual(wanted);
  expect(new Set(facts.map((f) => f.command))).toEqual(new Set(['ip -d link show dev t0']));
});

test('a macvlan shows how it shares, and what', () => {
  const own = node('host1').links?.[1] as Netdev;
  const shared = { ...own, name: 'm0', kind: 'macvlan', mode: 'bridge', parent: 'host1:eth0' };
  const facts = factsOf(node('host1/kon'), shared);
  expect(facts.find((f) => f.label === 'col.mode')).toMatchObject({
    value: 'bridge',
    what: 'what.mode.bridge',
    command: 'ip -n kon -d link show dev m0',
  });
  expect(facts.find((f) => f.label === 'col.parent')?.value).toEqual({
    to: 'host1:eth0',
    text: 'eth0 on host1',
  });
});

test.each([
  ['net.ipv4.ip_forward', 'what.sysctl.ip_forward'],
  ['net.ipv4.conf.eth0.rp_filter', 'what.sysctl.rp_filter'],
  ['net.ipv4.conf.all.forwarding', 'what.sysctl.forwarding'],
  ['net.bridge.bridge-nf-call-iptables', 'what.sysctl.bridge-nf-call-iptables'],
  ['net.core.somaxconn', undefined],
])('%s is explained by %s', (key, what) => {
  expect(whatSetting(key)).toBe(what);
});

test('an entry of an FDB says where it leads', () => {
  const br0 = { ...(node('host1').links?.[1] as Netdev), name: 'br0', kind: 'bridge' };
  const port = {
    ...br0,
    name: 'veth1',
    kind: 'veth',
    mac: '02:00:00:00:00:11',
    master: 'br0',
    peer: 'host1/kon:veth2',
  };
  const fdb = [
    { mac: '02:00:00:00:00:11', dev: 'veth1', master: 'br0', state: 'permanent' },
    { mac: '02:00:00:00:00:22', dev: 'veth1', master: 'br0' },
    { mac: '00:00:00:00:00:00', dev: 'vxlan1', dst: '10.0.0.2', state: 'permanent' },
    { mac: '33:33:00:00:00:01', dev: 'br0', state: 'permanent' },
  ];
  const tables = tablesOf({ ...node('host1'), links: [br0, port], fdb });
  expect(tables.find((t) => t.title === 'inspect.fdb')?.rows.map((r) => cellText(r[3] ?? ''))).toEqual([
    'veth1’s own address',
    'out by port veth1, where veth2 on host1/kon is',
    'unknown addresses: through the tunnel to 10.0.0.2',
    'a multicast group that br0 listens to',
  ]);
});

test('what is wrong with a cable is said', () => {
  const host1 = node('host1');
  const link = host1.links?.find((l) => l.name === 'veth1') as Netdev;
  const end = (over: Partial<Netdev>): { id: string; node: Node; link: Netdev } => ({
    id: 'host1:veth1',
    node: host1,
    link: { ...link, ...over },
  });
  expect(cableFaults([end({}), end({})])).toEqual([]);
  expect(cableFaults([end({ up: false }), end({ mtu: 1400 })])).toHaveLength(2);
});

test('what changed of what one looks at is fresh', () => {
  const before = new Map([
    ['a', '1'],
    ['b', '2'],
  ]);
  expect([
    ...changedKeys(
      before,
      new Map([
        ['a', '1'],
        ['b', '3'],
        ['c', '4'],
      ]),
    ),
  ]).toEqual(['b', 'c']);
});
