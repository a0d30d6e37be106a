import { expect, test } from 'vitest';
import type { Cable } from '../topology/picture';
import type { Row } from './protocol';
import { along, inner, placeAt, Traffic } from './traffic';

const cable = (a: string, b: string): Cable => ({
  id: `${a}|${b}`,
  kind: 'veth',
  points: [
    { x: 0, y: 0 },
    { x: 100, y: 0 },
  ],
  ends: [a, b],
  up: true,
  label: '',
});
const cables = [cable('h/a:eth0', 'h:va'), cable('h:vb', 'h/b:eth0'), cable('h:vc', 'h/c:eth0')];
const row = (id: number, places: string[], more: Partial<Row> = {}): Row => ({
  id,
  at: 0,
  protocol: 'ICMP',
  source: '',
  destination: '',
  info: '',
  length: 1,
  state: 'in-flight',
  sightings: places.map((p, i) => {
    const [node = '', link = ''] = p.split(':');
    return { no: id * 100 + i, node, link, out: i % 2 === 0, at: i, length: 1 };
  }),
  ...more,
});
const way = ['h/a:eth0', 'h:va', 'h:vb', 'h/b:eth0'];

function traffic(still = false): Traffic {
  const made = new Traffic(still);
  made.draw(cables);
  return made;
}
const told = (x: Traffic): string[] =>
  x.moves.map((m) => `${m.cable.id}${m.back ? ' back' : ''} ${m.from}-${m.until}`);

test('a packet passes its cables one after the other, and a reply begins when it has arrived', () => {
  const x = traffic();
  x.hear(row(1, way), undefined, 5, 1000);
  x.hear(row(2, way.toReversed(), { answers: 1 }), undefined, 5, 1000);
  expect(told(x)).toEqual([
    'h/a:eth0|h:va 1000-1520',
    'h:vb|h/b:eth0 1520-2040',
    'h:vb|h/b:eth0 back 2040-2560',
    'h/a:eth0|h:va back 2560-3080',
  ]);
});

test('what a bridge floods leaves it by all ports at once', () => {
  const x = traffic();
  x.hear(row(1, ['h/a:eth0', 'h:va', 'h:vb', 'h:vc', 'h/b:eth0', 'h/c:eth0']), undefined, 5, 0);
  expect(told(x).slice(1)).toEqual(['h:vb|h/b:eth0 520-1040', 'h:vc|h/c:eth0 520-1040']);
});

test('only what is new of a row moves', () => {
  const x = traffic();
  const first = row(1, way.slice(0, 2));
  x.hear(first, undefined, 5, 0);
  x.hear(row(1, way), first, 5, 100);
  x.hear(row(1, way, { state: 'answered' }), row(1, way), 5, 200);
  expect(told(x)).toEqual(['h/a:eth0|h:va 0-520', 'h:vb|h/b:eth0 520-1040']);
});

test('what is old already when it comes does not move', () => {
  const x = traffic();
  x.hear(row(1, way), undefined, 10e6, 0);
  expect(x.moves).toEqual([]);
});

test('of too many the cables glow, and nothing moves for who wants it still', () => {
  const x = traffic();
  for (let id = 1; id <= 500; id++) x.hear(row(id, way), undefined, 5, 0);
  expect(x.moves).toHaveLength(60);
  expect([...x.glows.keys()]).toEqual(['h/a:eth0|h:va', 'h:vb|h/b:eth0']);
  const calm = traffic(true);
  calm.hear(row(1, way), undefined, 5, 0);
  expect([calm.moves.length, calm.glows.size]).toEqual([0, 2]);
  expect(calm.tidy(10_000)).toBe(false);
  expect(calm.glows.size).toBe(0);
});

test('a packet that is lost leaves a cross at its last place, for some seconds', () => {
  const x = traffic();
  const seen = row(1, way.slice(0, 2));
  x.hear(seen, undefined, 5, 0);
  x.hear({ ...seen, state: 'gone' }, seen, 5, 100);
  expect(x.crosses).toMatchObject([{ place: 'h:va', from: 520 }]);
  expect(x.tidy(3000)).toBe(true);
  expect(x.tidy(60_000)).toBe(false);
});

test('what moves keeps to its cable when the picture is drawn anew, and ends with it', () => {
  const x = traffic();
  x.hear(row(1, way), undefined, 5, 0);
  x.draw([{ ...(cables[0] as Cable), points: [{ x: 5, y: 5 }] }]);
  expect(x.moves.map((m) => m.cable.points)).toEqual([[{ x: 5, y: 5 }]]);
});

test('a place along a line with corners, in both directions', () => {
  const points = [
    { x: 0, y: 0 },
    { x: 10, y: 0 },
    { x: 10, y: 30 },
  ];
  expect([0, 0.25, 0.5, 1].map((part) => along(points, part))).toEqual([
    { x: 0, y: 0 },
    { x: 10, y: 0 },
    { x: 10, y: 10 },
    { x: 10, y: 30 },
  ]);
  const move = { key: 0, cable: cable('a', 'b'), back: true, protocol: '', from: 100, until: 200 };
  expect([99, 100, 150, 200].map((now) => placeAt(move, now)?.x)).toEqual([undefined, 100, 50, undefined]);
});

test('a line is shortened at its ends, never to nothing', () => {
  const line = [
    { x: 0, y: 0 },
    { x: 100, y: 0 },
    { x: 100, y: 10 },
  ];
  expect(inner(line, 12)).toEqual([
    { x: 12, y: 0 },
    { x: 100, y: 0 },
    { x: 100, y: 6 },
  ]);
});
