import { describe, expect, test } from 'vitest';
import { build, models } from '../../mock/models';
import { scene } from '../../mock/scenes';
import { ToyWorld } from '../../mock/world';
import type { Command, Snapshot } from '../wire';
import { changesBetween, facts, type Facts } from './facts';
import { wayTo, without } from './restore';

const told = (f: Facts): string[] => [...f].map(([fact, value]) => `${fact} = ${value}`).toSorted();
const lines = (commands: Command[]): string[] => commands.map((c) => `${c.node}# ${c.command}`);

function start(...commands: string[]): ToyWorld {
  const w = new ToyWorld(
    [
      ['host1', 'host'],
      ['host2', 'host'],
    ],
    [['host1:eth0', 'host2:eth0']],
  );
  for (const c of commands) w.run('host1', c);
  return w;
}

/** Walks from what a world is to `goal`, and says how. */
function walk(w: ToyWorld, goal: Facts): string[] {
  const way = wayTo(facts(w.snapshot(), 'host1'), goal);
  for (const c of way.commands) w.run(c.node, c.command);
  return lines(way.commands);
}

const pair = [
  'ip netns add c1',
  'ip link add veth0 type veth peer name ceth0 netns c1',
  'ip -n c1 addr add 172.16.0.2/24 dev ceth0',
  'ip -n c1 link set ceth0 up',
  'ip link add br0 type bridge',
  'ip link set veth0 master br0',
  'ip link set veth0 up',
  'ip link set br0 up',
  'ip addr add 172.16.0.1/24 dev br0',
  'ip -n c1 route add default via 172.16.0.1 dev ceth0',
];

describe('what is done is taken back', () => {
  test.each<[string, string[], string]>([
    ['a container', [], 'ip netns add c1'],
    ['a bridge', [], 'ip link add br0 type bridge'],
    ['a cable', ['ip netns add c1'], 'ip link add veth0 type veth peer name ceth0 netns c1'],
    ['a whole container that was deleted', pair, 'ip netns del c1'],
    ['a cable that was deleted', pair, 'ip link del veth0'],
    ['a bridge that was deleted', pair, 'ip link del br0'],
    [
      'an address that was deleted, and the route that went with it',
      pair,
      'ip -n c1 addr del 172.16.0.2/24 dev ceth0',
    ],
    ['an interface that was set down, and its routes', pair, 'ip -n c1 link set ceth0 down'],
    ['a port that was pulled out of its bridge', pair, 'ip link set veth0 nomaster'],
    [
      'an interface that was moved in',
      [...pair, 'ip link add a type veth peer name b'],
      'ip link set b netns c1',
    ],
    ['an interface that was moved out', pair, 'ip -n c1 link set ceth0 netns 1'],
    ['an MTU', pair, 'ip link set br0 mtu 1400'],
    ['a setting', pair, 'sysctl -w net.ipv4.ip_forward=1'],
    ['a policy', pair, 'iptables -P FORWARD DROP'],
    ['a rule', pair, 'iptables -t nat -A POSTROUTING -s 172.16.0.0/24 ! -o br0 -j MASQUERADE'],
    [
      'a rule between others',
      [
        ...pair,
        'iptables -A INPUT -s 1.1.1.1 -j DROP',
        'iptables -A INPUT -s 2.2.2.2 -j DROP',
        'iptables -A INPUT -s 3.3.3.3 -j DROP',
      ],
      'iptables -D INPUT -s 2.2.2.2 -j DROP',
    ],
    ['a macvlan', pair, 'ip link add link eth0 name m0 type macvlan mode bridge'],
    [
      'a macvlan that was deleted',
      [...pair, 'ip link add link eth0 name m0 type macvlan mode private'],
      'ip link del m0',
    ],
    ['a route', pair, 'ip -n c1 route del default via 172.16.0.1'],
  ])('%s', (_, before, command) => {
    const w = start(...before);
    const was = facts(w.snapshot(), 'host1');
    w.run('host1', command);
    const is = facts(w.snapshot(), 'host1');
    expect(told(is)).not.toEqual(told(was));
    walk(w, without(is, changesBetween(was, is)));
    expect(told(facts(w.snapshot(), 'host1'))).toEqual(told(was));
    // And forth again.
    walk(w, is);
    const kept = (f: Facts): string[] => told(f).filter((line) => !line.startsWith('mac '));
    expect(kept(facts(w.snapshot(), 'host1'))).toEqual(kept(is));
  });

  test('in the words of a tutorial', () => {
    const w = start(...pair);
    const was = facts(w.snapshot(), 'host1');
    const mac = (id: string): string => was.get(`mac ${id}`) ?? '';
    w.run('host1', 'ip netns del c1');
    expect(walk(w, was)).toEqual([
      'host1# ip netns add c1',
      `host1# ip link add veth0 address ${mac('host1:veth0')} type veth peer name ceth0 netns c1`,
      `host1# ip -n c1 link set ceth0 address ${mac('host1/c1:ceth0')}`,
      'host1# ip link set veth0 master br0',
      'host1# ip link set veth0 up',
      'host1# ip -n c1 addr add 172.16.0.2/24 dev ceth0',
      'host1# ip -n c1 link set ceth0 up',
      'host1# ip -n c1 route add default via 172.16.0.1 dev ceth0',
    ]);
  });
});

test.each(models.map((m) => [m.id, m] as const))('every state of %s is reached from every other', (_, m) => {
  const states: Snapshot[] = [];
  const w = build(m);
  const all = m.steps.flatMap((s) => s.do);
  const tunnel = all.findIndex(([, command]) => command.startsWith('socat')); // no command makes its device
  for (const [machine, command] of tunnel < 0 ? all : all.slice(0, tunnel)) {
    states.push(w.snapshot());
    w.run(machine, command);
  }
  for (const to of [...states, ...states.toReversed()]) {
    for (const machine of ['host1', 'host2']) {
      const goal = facts(to, machine);
      const way = wayTo(facts(w.snapshot(), machine), goal);
      for (const c of way.commands) w.run(c.node, c.command);
      expect(way.impossible).toEqual([]);
      expect(told(facts(w.snapshot(), machine))).toEqual(told(goal));
    }
  }
});

test('what no command brings back is named', () => {
  const w = start();
  const was = facts(w.snapshot(), 'host1');
  w.run('host1', 'ip link del eth0');
  expect(wayTo(facts(w.snapshot(), 'host1'), was)).toEqual({ commands: [], impossible: ['link host1:eth0'] });
});

test('what the kernel does by itself is not undone', () => {
  const w = scene([['host1', 'host']], [], []);
  const node = w.nodes?.[0];
  node?.routes?.push({ dst: '10.0.0.0/24', dev: 'lo', protocol: 'kernel', scope: 'link' });
  node?.links?.[0]?.addresses?.push('127.0.0.1/8', 'fe80::1/64');
  expect([...facts(w, 'host1').keys()].filter((f) => /^(route|address) /.test(f))).toEqual([]);
});
