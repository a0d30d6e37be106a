import { describe, expect, test } from 'vitest';
import { build, models, type Model } from '../../mock/models';
import { ToyWorld } from '../../mock/world';
import type { Command, Snapshot } from '../wire';
import * as forms from './forms';
import * as propose from './propose';

const steps = (id: string): Command[] =>
  (models.find((m) => m.id === id)?.steps ?? []).flatMap((s) =>
    s.do.map(([node, command]) => ({ node, command })),
  );
const none = propose.wishesOf([]);

function world(...commands: string[]): Snapshot {
  const w = new ToyWorld(
    [
      ['host1', 'host'],
      ['r1', 'router'],
    ],
    [['host1:eth0', 'r1:eth0']],
  );
  w.run('r1', 'ip addr add 10.0.0.1/24 dev eth0');
  for (const c of ['ip addr add 10.0.0.10/24 dev eth0', ...commands]) w.run('host1', c);
  return w.snapshot();
}

const bridged = [
  'ip netns add c1',
  'ip link add veth0 type veth peer name eth0 netns c1',
  'ip link add br0 type bridge',
  'ip link set veth0 master br0',
  'ip addr add 172.16.0.1/24 dev br0',
  'ip link set br0 up',
  'ip link set veth0 up',
  'ip -n c1 link set eth0 up',
];

describe('what a lab asks for', () => {
  const wishes = propose.wishesOf([
    ...steps('one-host-bridge'),
    { node: 'host1', command: 'sudo ip netns exec kon1 ip route add 10.9.0.0/16 via 172.16.0.9' },
    { node: 'host1', command: 'ip link add name br7 type bridge' },
    { node: 'host1', command: 'ip link add a type veth peer name b netns kon2' },
    { node: 'host1', command: 'iptables -P FORWARD DROP' },
  ]);
  const beginning = build(models.find((m) => m.id === 'one-host-bridge') as Model).snapshot();

  test('is read off its commands', () => {
    expect(wishes.containers.map((c) => c.name)).toEqual(['kon1', 'kon2']);
    expect(wishes.bridges.map((b) => b.name)).toEqual(['br0', 'br7']);
    expect(wishes.cables).toEqual([
      { a: 'host1:veth10', b: 'host1/kon1:veth11' },
      { a: 'host1:veth20', b: 'host1/kon2:veth21' },
      { a: 'host1:a', b: 'host1/kon2:b' },
    ]);
    expect(wishes.addresses).toContainEqual({ link: 'host1/kon1:veth11', address: '172.16.0.2/24' });
    expect(wishes.routes).toContainEqual({
      node: 'host1/kon1',
      to: '10.9.0.0/16',
      via: '172.16.0.9',
      dev: '',
    });
  });

  test('is proposed first', () => {
    expect(propose.containerName(beginning, 'host1', wishes)).toBe('kon1');
    expect(propose.containerName(beginning, 'host2', wishes)).toBe('c1');
    expect(propose.bridgeName(beginning, 'host1', wishes)).toBe('br0');
    expect(propose.cableNames(beginning, 'host1', 'host1/kon1', wishes)).toEqual(['veth10', 'veth11']);
    expect(propose.cableNames(beginning, 'host1/kon2', 'host1', wishes)).toEqual(['veth21', 'veth20']);
    expect(propose.addressesFor(beginning, 'host1/kon1:veth11', wishes)[0]).toBe('172.16.0.2/24');
  });
});

test('names are the next that are free', () => {
  const s = world('ip netns add c1', 'ip netns add c3', 'ip link add br0 type bridge');
  expect(propose.containerName(s, 'host1', none)).toBe('c2');
  expect(propose.bridgeName(s, 'host1', none)).toBe('br1');
  expect(propose.cableNames(s, 'host1', 'host1/c1', none)).toEqual(['veth0', 'eth0']);
  expect(propose.cableNames(s, 'host1', 'host1', none)).toEqual(['veth0', 'veth1']);
});

test.each([
  ['behind a bridge, the next of its network', bridged, 'host1/c1:eth0', ['172.16.0.2/24']],
  ['of a wire, the next of the other end’s', [], 'host1:eth0', ['10.0.0.2/24']],
  [
    'of a bridge alone, a network of its own',
    ['ip link add br0 type bridge'],
    'host1:br0',
    ['172.16.0.1/24'],
  ],
])('an address %s', (_, commands, link, wanted) => {
  expect(propose.addressesFor(world(...commands), link, none)).toEqual(wanted);
});

test('gateways are those within reach, routers first', () => {
  expect(propose.gatewaysFor(world(), 'host1')).toEqual(['10.0.0.1']);
  const s = world(...bridged, 'ip -n c1 addr add 172.16.0.2/24 dev eth0');
  expect(propose.gatewaysFor(s, 'host1/c1')).toEqual(['172.16.0.1']);
});

describe('a form', () => {
  const s = world(...bridged, 'ip -n c1 addr add 172.16.0.2/24 dev eth0');
  const lines = (form: forms.Form, values: forms.Values): string[] =>
    (form.read(s, { ...form.start(s), ...values }).action?.commands ?? []).map((c) => c.command);
  const fault = (form: forms.Form, values: forms.Values): unknown =>
    Object.entries(form.read(s, { ...form.start(s), ...values }).faults).flatMap(([k, f]) =>
      f ? `${k} ${f.key}` : [],
    );
  const advice = (form: forms.Form, values: forms.Values): string | undefined =>
    form.read(s, values).advice?.key;
  const route = forms.route('host1/c1', none);
  const address = forms.address('host1/c1:eth0', none);

  test.each<[string, forms.Form, string[]]>([
    ['container', forms.container('host1', none), ['ip netns add c2']],
    ['bridge', forms.bridge('host1', none), ['ip link add br1 type bridge']],
    [
      'cable',
      forms.cable({ node: 'host1/c1' }, { node: 'host1', bridge: 'br0' }, none),
      ['ip link add veth1 type veth peer name eth1 netns c1', 'ip link set veth1 master br0'],
    ],
    ['address', address, ['ip -n c1 addr add 172.16.0.3/24 dev eth0']],
    ['route', route, ['ip -n c1 route add default via 172.16.0.1']],
    [
      'masquerade',
      forms.masquerade('host1'),
      ['iptables -t nat -A POSTROUTING -s 172.16.0.0/24 ! -o br0 -j MASQUERADE'],
    ],
    [
      'published port',
      forms.publish('host1'),
      [
        'iptables -t nat -A PREROUTING -d 10.0.0.10 -p tcp --dport 8080 -j DNAT --to-destination 172.16.0.2:80',
      ],
    ],
  ])('proposes a whole %s', (_, form, wanted) => expect(lines(form, {})).toEqual(wanted));

  test('finds what is wrong before the kernel does', () => {
    expect(fault(forms.container('host1', none), { name: 'c1' })).toEqual(['name build.fault.taken']);
    expect(fault(forms.container('host1', none), { name: '-x' })).toEqual(['name build.fault.name']);
    expect(fault(forms.bridge('host1', none), { name: 'a-name-too-long-' })).toEqual([
      'name build.fault.long',
    ]);
    expect(fault(forms.bridge('host1', none), { name: 'dev' })).toEqual(['name build.fault.word']);
    expect(fault(address, { address: '172.16.0.2/24' })).toEqual(['address build.fault.taken']);
    expect(fault(address, { address: '172.16.0/24' })).toEqual(['address build.fault.address']);
    expect(fault(route, { to: '172.16.5.1/24' })).toEqual(['to build.fault.hostBits']);
    expect(fault(route, { via: '', dev: '' })).toEqual(['via build.fault.nowhere']);
    expect(fault(route, { to: 'fd00::/64' })).toEqual(['via build.fault.family']);
    expect(fault(forms.mtu('host1:br0'), { mtu: '20' })).toEqual(['mtu build.fault.mtu']);
    expect(fault(forms.publish('host1'), { port: '70000' })).toEqual(['port build.fault.port']);
  });

  test('warns of what the kernel takes and nobody wants', () => {
    expect(advice(address, { address: '172.16.0.9' })).toBe('build.advice.host');
    expect(advice(address, { address: '172.16.0.0/24' })).toBe('build.advice.network');
    expect(advice(address, { address: '172.16.0.1/24' })).toBe('build.advice.owned');
    expect(advice(route, { to: 'default', via: '9.9.9.9' })).toBe('build.advice.gateway');
    expect(advice(route, { to: 'default', via: '172.16.0.1' })).toBeUndefined();
  });
});
