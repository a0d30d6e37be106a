import { expect, test } from 'vitest';
import type { LimitHit } from '../wire';
import { keyOf, news, still } from './limits';

const memory = (hits: number): LimitHit => ({ kind: 'memory', bound: 192, hits });
const files = (node: string): LimitHit => ({ kind: 'files', node, bound: 32, hits: 1 });

test('a notice comes back only when its limit is hit again', () => {
  const dismissed = { [keyOf(memory(3))]: 3 };
  expect(news([memory(3)], {})).toEqual([memory(3)]);
  expect(news([memory(3)], dismissed)).toEqual([]);
  expect(news([memory(4)], dismissed)).toEqual([memory(4)]);
});

test('a limit of one machine is not the same limit of another', () => {
  const dismissed = { [keyOf(files('host1'))]: 1 };
  expect(news([files('host1'), files('host2')], dismissed)).toEqual([files('host2')]);
});

test('a world that was built again counts from the start', () => {
  const dismissed = { [keyOf(memory(3))]: 3, [keyOf(files('host1'))]: 1 };
  expect(still([memory(3), files('host1')], dismissed)).toEqual(dismissed);
  expect(still([], dismissed)).toEqual({});
  expect(still([memory(1)], dismissed)).toEqual({});
});
