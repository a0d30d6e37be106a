import { describe, expect, test } from 'vitest';
import { ToyWorld } from '../../mock/world';
import { draw, type Item } from '../topology/picture';
import { itemAt, landing, socketOf } from './reach';

const w = new ToyWorld(
  [
    ['host1', 'host'],
    ['host2', 'host'],
    ['sw', 'switch'],
  ],
  [
    ['host1:eth0', 'sw:port1'],
    ['host2:eth0', 'sw:port2'],
  ],
);
for (const c of [
  'ip netns add c1',
  'ip netns add c2',
  'ip link add br0 type bridge',
  'ip link add veth0 type veth peer name eth0 netns c1',
  'ip link set veth0 master br0',
  'ip link add a type veth peer name b',
])
  w.run('host1', c);
const snapshot = w.snapshot();
const { items } = draw(snapshot);
const item = (id: string): Item => {
  const found = items.find((i) => i.id === id);
  if (!found) throw new Error(`${id} is not drawn`);
  return found;
};

describe('what was drawn lands', () => {
  test.each([
    ['host1/c1', 'host1', { does: 'cable', from: { node: 'host1/c1' }, to: { node: 'host1' } }],
    ['host1/c1', 'host1/c2', { does: 'cable', from: { node: 'host1/c1' }, to: { node: 'host1/c2' } }],
    ['host1/c1', 'host1:eth0', { does: 'cable', from: { node: 'host1/c1' }, to: { node: 'host1' } }],
    [
      'host1/c1',
      'host1:br0',
      { does: 'cable', from: { node: 'host1/c1' }, to: { node: 'host1', bridge: 'br0' } },
    ],
    [
      'host1:br0',
      'host1/c2',
      { does: 'cable', from: { node: 'host1', bridge: 'br0' }, to: { node: 'host1/c2' } },
    ],
    ['host1:a', 'host1:br0', { does: 'attach', link: 'host1:a', bridge: 'br0' }],
    ['host1:a', 'host1/c1', { does: 'move', link: 'host1:a', to: 'host1/c1' }],
    ['host1/c1:eth0', 'host1/c2', { does: 'move', link: 'host1/c1:eth0', to: 'host1/c2' }],
    ['host1:eth0', 'host1/c2', { does: 'move', link: 'host1:eth0', to: 'host1/c2' }],
    ['host1/c1', 'host1/c1', { does: 'nothing', why: null }],
    ['host1', 'host1:eth0', { does: 'nothing', why: null }],
    ['host1/c1', 'host2', { does: 'nothing', why: 'build.no.machine' }],
    ['host1:a', 'host2', { does: 'nothing', why: 'build.no.machine' }],
    ['host1', 'sw', { does: 'nothing', why: 'build.no.machine' }],
    ['host1:veth0', 'host1:br0', { does: 'nothing', why: 'build.no.port' }],
    ['host1/c1:eth0', 'host1', { does: 'nothing', why: 'build.no.name' }],
  ])('from %s on %s', (from, to, wanted) => expect(landing(snapshot, item(from), item(to))).toEqual(wanted));
});

test('the innermost thing is meant', () => {
  const inside = (id: string, dx: number, dy: number): string | undefined => {
    const { x, y } = item(id).box;
    return itemAt(items, { x: x + dx, y: y + dy })?.id;
  };
  expect(inside('host1', 4, 4)).toBe('host1');
  expect(inside('host1/c1', 4, 4)).toBe('host1/c1');
  expect(inside('host1:br0', 4, 4)).toBe('host1:br0');
  expect(inside('host1:br0', -5, 4)).toBe('host1:br0'); // from a little beside it
  expect(itemAt(items, { x: -50, y: -50 })).toBeUndefined();
});

test('a cable is plugged in at the nearest edge', () => {
  const box = { x: 100, y: 100, w: 100, h: 50 };
  expect(socketOf(box, { x: 150, y: 0 })).toEqual({ x: 150, y: 100 });
  expect(socketOf(box, { x: 0, y: 0 })).toEqual({ x: 112, y: 100 });
  expect(socketOf(box, { x: 150, y: 400 })).toEqual({ x: 150, y: 150 });
  expect(socketOf(box, { x: 500, y: 120 })).toEqual({ x: 200, y: 120 });
});
