import { expect, test } from 'vitest';
import { formatHash, parseHash, type Place } from './route';

test.each<[string, Place]>([
  ['', { page: 'home' }],
  ['#/', { page: 'home' }],
  ['#/lab/one/abc', { page: 'lab', lab: 'one', session: 'abc' }],
  ['#/lab/one', { page: 'home' }],
  ['#/nowhere/x/y', { page: 'home' }],
  ['#/lab/a%20b/%', { page: 'lab', lab: 'a b', session: '%' }],
])('%j', (hash, place) => {
  expect(parseHash(hash)).toEqual(place);
});

test('what is formatted is read back', () => {
  const place: Place = { page: 'lab', lab: 'one/two', session: 'ä%' };
  expect(parseHash(formatHash(place))).toEqual(place);
});
