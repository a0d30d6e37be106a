import { describe, expect, test } from 'vitest';
import { Journal, type Entry } from './journal';
import { everything, Listing, type View } from './listing';
import type { Row, Sighting } from './protocol';

const sighting = (no: number, node = 'host1', link = 'eth0'): Sighting => ({
  no,
  node,
  link,
  out: no % 2 === 0,
  at: no * 10,
  length: 98,
});
const row = (id: number, more: Partial<Row> = {}): Row => ({
  id,
  at: id * 100,
  protocol: 'ICMP',
  source: '10.0.0.1',
  destination: '10.0.0.2',
  info: `packet ${id}`,
  length: 98,
  state: 'in-flight',
  sightings: [sighting(id)],
  ...more,
});
const rows = (from: number, to: number): Row[] =>
  Array.from({ length: to - from + 1 }, (_, i) => row(from + i));
const told = (entries: Entry[]): string[] =>
  entries.map((e) => ('row' in e ? `${e.row.id} ${e.row.state}` : 'gap' in e ? `gap ${e.gap}` : 'joined'));

describe('the journal', () => {
  test('replaces a row where it stands', () => {
    const j = new Journal();
    j.apply(rows(1, 3), 0);
    j.apply([row(2, { state: 'answered' }), row(4)], 0);
    expect(told(j.entries)).toEqual(['1 in-flight', '2 answered', '3 in-flight', '4 in-flight']);
    expect(j.get(2)?.state).toBe('answered');
  });

  test('keeps so many rows, drops the oldest, and counts them', () => {
    const j = new Journal({ rows: 3, sightings: 100 });
    j.apply(rows(1, 5), 0);
    expect(told(j.entries)).toEqual(['3 in-flight', '4 in-flight', '5 in-flight']);
    expect(j.dropped).toBe(2);
  });

  test('keeps so many sightings, whatever rows they belong to', () => {
    const j = new Journal({ rows: 100, sightings: 4 });
    j.apply(rows(1, 3), 0);
    j.apply([row(3, { sightings: [3, 4, 5].map((no) => sighting(no)) })], 0);
    expect(told(j.entries)).toEqual(['2 in-flight', '3 in-flight']);
  });

  test('a row that was dropped or cleared does not come back by an update', () => {
    const j = new Journal({ rows: 2, sightings: 100 });
    j.apply(rows(1, 3), 0);
    j.apply([row(1, { state: 'gone' })], 0);
    expect(told(j.entries)).toEqual(['2 in-flight', '3 in-flight']);
    j.clear();
    j.apply([row(3, { state: 'gone' }), row(4)], 0);
    expect(told(j.entries)).toEqual(['4 in-flight']);
  });

  test('a capture that begins anew may number its rows from 1 again', () => {
    const j = new Journal();
    j.apply(rows(1, 3), 2);
    j.reset();
    j.apply([row(1)], 0);
    expect(told(j.entries)).toEqual(['1 in-flight']);
    expect(j.leftOut).toBe(0);
  });

  test('a row that has become part of another one leaves the list', () => {
    const j = new Journal();
    j.apply(rows(1, 3), 0);
    j.apply([row(1, { state: 'answered' }), row(2, { into: 1 }), row(9, { into: 1 })], 0);
    expect(told(j.entries)).toEqual(['1 answered', 'joined', '3 in-flight']);
    expect(new Listing(everything, j.entries).items).toHaveLength(2);
    expect(j.get(2)).toBeUndefined();
  });

  test('says where updates were left out, once for those that follow each other', () => {
    const j = new Journal();
    j.apply(rows(1, 1), 0);
    j.apply([row(1, { state: 'delivered' })], 12);
    j.apply([row(1, { state: 'answered' })], 3);
    j.apply([row(2)], 0);
    expect(told(j.entries)).toEqual(['1 answered', 'gap 15', '2 in-flight']);
    expect(j.leftOut).toBe(15);
  });
});

test('two gaps never stand at one place among the sightings', () => {
  const j = new Journal();
  j.apply([row(5)], 0);
  j.apply([row(6, { sightings: [sighting(3)] })], 1);
  j.apply([row(7)], 2);
  expect(told(j.entries)).toEqual(['5 in-flight', 'gap 3', '6 in-flight', '7 in-flight']);
});

describe('a view', () => {
  const one = row(1, { sightings: [sighting(1, 'host1', 'veth1'), sighting(3, 'host1/kon', 'veth2')] });
  const two = row(2, { protocol: 'ARP', sightings: [sighting(2, 'host2', 'eth0')], answers: 1 });
  const listed = (view: Partial<View>): string[] => {
    const j = new Journal();
    j.apply([one, two, row(9)], 0);
    return new Listing({ ...everything, ...view }, j.entries).items.map((i) =>
      'gap' in i ? `gap ${i.gap}` : `${i.row.id}${i.sighting ? `:${i.sighting.no}` : ''}`,
    );
  };

  test('shows protocols', () => expect(listed({ protocols: new Set(['ARP']) })).toEqual(['2']));
  test('shows what was seen at an interface', () =>
    expect(listed({ places: new Set(['host1/kon:veth2', 'host1:veth1']) })).toEqual(['1']));
  test('shows a journey and its answer', () => expect(listed({ journey: 1 })).toEqual(['1', '2']));
  test('shows single sightings in their order', () =>
    expect(listed({ mode: 'sightings' })).toEqual(['1:1', '2:2', '1:3', '9:9']));
  test('shows single sightings of an interface', () =>
    expect(listed({ mode: 'sightings', places: new Set(['host1/kon:veth2']) })).toEqual(['1:3']));
  test('tells how many items came to its end, those that were replaced not counted', () => {
    const j = new Journal();
    const all = new Listing(everything, []);
    expect(all.follow(j.apply(rows(1, 4), 0))).toBe(4);
    expect(all.follow(j.apply([row(2, { state: 'gone' }), row(5)], 0))).toBe(1);
  });
});

/** A generator of the test's own, so that a failure can be repeated. */
function dice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * sides);
  };
}

describe('whatever comes, a view that follows is the one that is made anew', () => {
  const protocols = ['ICMP', 'ARP', 'TCP'];
  const links = ['eth0', 'veth1', 'br0'];
  const views: Partial<View>[] = [
    {},
    { protocols: new Set(['ARP', 'TCP']) },
    { places: new Set(['host1:veth1']) },
    { journey: 20 },
    { mode: 'sightings' },
    { mode: 'sightings', places: new Set(['host1:br0']), protocols: new Set(['ICMP']) },
  ];
  test.each(views.map((v, i) => [i, v] as const))('view %i', (i, more) => {
    for (let seed = 1; seed <= 15; seed++) {
      const roll = dice(seed * 31 + i);
      const j = new Journal({ rows: 25, sightings: 80 });
      const view = { ...everything, ...more };
      let follows = new Listing(view, []);
      const known: Row[] = [];
      let [no, id] = [0, 0];
      const see = (): Sighting => sighting(++no, 'host1', links[roll(3)]);
      for (let step = 0; step < 120; step++) {
        const batch: Row[] = [];
        for (let n = roll(4); n > 0; n--) {
          const old = known[known.length - 1 - roll(12)];
          if (old && roll(3) > 0) {
            const seen = roll(6) === 0 ? old.sightings.slice(1) : [...old.sightings, see()];
            known[known.indexOf(old)] = { ...old, sightings: seen, state: 'delivered' };
            batch.push(known.find((r) => r.id === old.id) as Row);
          } else {
            const fresh = row(++id, {
              protocol: protocols[roll(3)] as string,
              sightings: [see()],
              ...(roll(4) === 0 && { answers: Math.max(1, id - 1) }),
            });
            known.push(fresh);
            batch.push(fresh);
          }
        }
        const [one, other] = [known.at(-1), known.at(-2)];
        if (one && other && roll(8) === 0) {
          known.pop();
          const both = { ...other, sightings: [...other.sightings, ...one.sightings] };
          known[known.length - 1] = both;
          const joined = [both, { ...one, into: other.id }];
          batch.push(...(roll(2) === 0 ? joined : joined.toReversed()));
        }
        if (roll(60) === 0) {
          j.clear();
          follows = new Listing(view, j.entries);
        }
        follows.follow(j.apply(batch, roll(5) === 0 ? 1 + roll(20) : 0));
        const anew = new Listing(view, j.entries).items;
        if (JSON.stringify(follows.items) !== JSON.stringify(anew))
          expect(follows.items, `seed ${seed}, step ${step}`).toEqual(anew);
      }
    }
  });
});
