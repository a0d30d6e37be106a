import { expect, test } from 'vitest';
import { contains, overlap } from '../topology/geometry';
import { mostHosts, type FreeWorld } from '../wire';
import { sketch } from './sketch';

const world = (hosts: number, more: Partial<FreeWorld> = {}): FreeWorld => ({
  hosts,
  join: 'switch',
  internet: false,
  laptop: false,
  ...more,
});

test.each<[string, FreeWorld, string[]]>([
  ['a machine alone', world(1), ['host1']],
  ['two at a switch', world(2), ['host1', 'host2', 'sw']],
  ['two at a router', world(2, { join: 'router' }), ['host1', 'host2', 'r1']],
  ['one, and the Internet behind a router', world(1, { internet: true }), ['host1', 'r1', 'internet']],
  ['all', world(2, { internet: true, laptop: true }), ['host1', 'host2', 'sw', 'r1', 'laptop', 'internet']],
])('has what the server builds: %s', (_, choice, names) => {
  expect(sketch(choice).things.map((t) => t.name)).toEqual(names);
});

test('whatever is chosen, each is joined to the others, and none covers another', () => {
  for (let hosts = 1; hosts <= mostHosts; hosts++) {
    for (const join of ['switch', 'router'] as const) {
      for (const outside of [false, true]) {
        const s = sketch(world(hosts, { join, internet: outside, laptop: outside }));
        const paper = { x: 0, y: 0, w: s.width, h: s.height };
        for (const [i, a] of s.things.entries()) {
          expect(contains(paper, a.box)).toBe(true);
          for (const b of s.things.slice(i + 1)) expect(overlap(a.box, b.box), a.name + b.name).toBe(false);
        }
        expect(s.cables).toHaveLength(s.things.length - 1);
      }
    }
  }
});
