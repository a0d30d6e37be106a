import { expect, test } from 'vitest';
import { ToyWorld } from '../../mock/world';
import { spoken } from './spoken';

const host = (...commands: string[]): ToyWorld => {
  const w = new ToyWorld([['host1', 'host']], []);
  for (const c of commands) w.run('host1', c);
  return w;
};

test.each([
  [[], 'ip netns add kon', 'host1: New namespace kon.'],
  [
    ['ip link add veth1 type veth peer name veth2'],
    'ip link set veth1 up',
    'host1: veth1 is up, but has no signal.',
  ],
])('after %j, %s is told', (before, command, told) => {
  const w = host(...before);
  const was = w.snapshot();
  w.run('host1', command);
  expect(spoken(was, w.snapshot())).toBe(told);
});

test('what only counts is not told', () => {
  const was = host('ip link add veth1 type veth peer name veth2').snapshot();
  const now = structuredClone(was);
  for (const n of now.nodes ?? []) {
    n.counters = { 'Ip InReceives': 5 };
    n.neighbours = [{ ip: '10.0.0.1', dev: 'veth1', state: 'REACHABLE' }];
  }
  expect(spoken(was, now)).toBe('');
});

test('a crowd of changes is counted', () => {
  const was = host().snapshot();
  const now = host(...Array.from({ length: 7 }, (_, i) => `ip netns add c${i}`)).snapshot();
  expect(spoken(was, now)).toMatch(/^host1: New namespace c0\..* And 3 more changes\.$/);
});
