import { describe, expect, test } from 'vitest';
import { scenes } from '../../mock/scenes';
import type { Snapshot } from '../wire';
import { draw } from './picture';
import { found, idOf, walked, type Stop } from './walk';
import { cableName } from './words';

const picture = (name: string): ReturnType<typeof draw> =>
  draw((scenes.find(([n]) => n === name) as [string, Snapshot])[1]);
const bridges = picture('two bridges');

/** The ids of the stops that keys lead to, one after the other. */
function way(p: ReturnType<typeof draw>, start: string, ...keys: string[]): string[] {
  let at = { item: p.items.find((i) => i.id === start) } as Stop;
  return keys.map((key) => {
    const next = walked(p, at, key);
    if (next) at = next;
    return next ? idOf(next) : '';
  });
}

describe('by keyboard', () => {
  test.each([
    ['host1', ['ArrowRight'], ['host1:lo']],
    ['host1', ['ArrowLeft', 'ArrowUp', 'c'], ['', '', '']],
    // From an interface to its cable, and by C again to the other end.
    ['host1/c0:w0', ['c', 'c'], ['host1/c0:w0=host1:v0', 'host1:v0']],
    ['host1/c0:w0', ['ArrowRight', 'ArrowRight'], ['host1/c0:w0=host1:v0', 'host1:v0']],
    // And the same way back.
    ['host1:v0', ['c', 'c'], ['host1/c0:w0=host1:v0', 'host1/c0:w0']],
    ['host1:v0', ['c', 'ArrowLeft', 'ArrowLeft'], ['host1/c0:w0=host1:v0', 'host1:v0', 'host1']],
    ['host1:v0', ['c', 'ArrowUp'], ['host1/c0:w0=host1:v0', 'host1:v0']],
    ['host1:lo', ['c', 'ArrowRight'], ['', '']],
    ['host1:v0', ['Home', 'End', 'ArrowDown'], ['host1', 'host1/c1:w1', '']],
  ])('from %s by %j', (start, keys, stops) => {
    expect(way(bridges, start, ...keys)).toEqual(stops);
  });

  test('the cables of an interface stand below each other', () => {
    const shared = picture('macvlan on the uplink');
    expect(way(shared, 'host1:eth0', 'c', 'ArrowDown', 'ArrowDown')).toEqual([
      'host1/m0:eth0=host1:eth0',
      'host1/m1:eth0=host1:eth0',
      'host1/m2:eth0=host1:eth0',
    ]);
    expect(way(shared, 'host1:eth0', 'c', 'ArrowDown', 'ArrowUp')[2]).toBe('host1/m0:eth0=host1:eth0');
    // Behind the last of them the walk goes on as if there were none.
    const [last] = way(bridges, 'host1:v0', 'ArrowDown');
    expect(way(bridges, 'host1:v0', 'c', 'ArrowDown')[1]).toBe(last);
  });

  test.each(scenes)('every cable of %s is reached, and left, from both ends', (_, s) => {
    const p = draw(s);
    for (const c of p.cables)
      for (const end of c.ends) {
        const item = p.items.find((i) => i.id === end);
        expect(item, end).toBeDefined();
        const other = item && walked(p, { item, cable: c }, 'c');
        expect(other && c.ends.includes(idOf(other)) && idOf(other) !== end, c.id).toBe(true);
      }
  });
});

test.each([
  ['host1:v0', '', 'host1:v0'],
  ['host1/c0:w0=host1:v0', 'host1:v0', 'host1/c0:w0=host1:v0'],
  // The cable is gone, its end is not.
  ['host1/c9:w9=host1:v0', 'host1:v0', 'host1:v0'],
  ['host1/c9:w9=host1:v9', 'host1:v9', 'host1'],
  ['host1/c0:w9', '', 'host1/c0'],
  ['host1/c9', '', 'host1'],
  ['host9', '', 'host1'],
  ['', '', 'host1'],
])('the keyboard that was at %j (from %j) is at %s', (id, from, now) => {
  const stop = found(bridges, id, from);
  expect(stop && idOf(stop)).toBe(now);
});

test.each([
  ['two bridges', 'host1:v0', 'cable from host1 v0 to host1/c0 w0, down'],
  ['two bridges', 'host1/c0:w0', 'cable from host1/c0 w0 to host1 v0, down'],
  ['a published port', 'host1:v0', 'cable from host1 v0 to host1/c0 w0, up'],
  ['a VXLAN between two hosts', 'host1:br0', 'from host1 vxlan100 to its bridge host1 br0, down'],
  ['a VXLAN between two hosts', 'host1:eth0', 'from host1 vxlan100 to host1 eth0, which carries it, down'],
  ['macvlan on the uplink', 'host1:eth0', 'from host1/m0 eth0 to host1 eth0, which it shares, up'],
])('a cable of %s is called, from %s, %j', (scene, from, name) => {
  const p = picture(scene);
  const cable = p.cables.find((c) => c.kind !== 'wire' && c.kind !== 'tunnel' && c.ends.includes(from));
  expect(cable && cableName(cable, from)).toBe(name);
});

test('a tunnel is called by what is written on it', () => {
  const [tunnel] = picture('a VXLAN between two hosts').cables.filter((c) => c.kind === 'tunnel');
  expect(tunnel && cableName(tunnel, 'host2:vxlan100')).toBe(
    'VXLAN 100, tunnel from host2 vxlan100 to host1 vxlan100, down',
  );
});
