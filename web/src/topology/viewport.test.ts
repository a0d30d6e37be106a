import { expect, test } from 'vitest';
import { fitted, zoomed } from './viewport';

test('a picture is fitted into its pane, centred', () => {
  expect(fitted({ width: 1000, height: 500 }, 500, 500)).toEqual({ k: 0.5, x: 0, y: 125 });
});

test('a small picture is not blown up without end', () => {
  expect(fitted({ width: 10, height: 10 }, 1000, 1000).k).toBe(1.35);
});

test('nothing to show, or nowhere to show it', () => {
  expect(fitted({ width: 0, height: 0 }, 100, 100)).toEqual({ k: 1, x: 0, y: 0 });
  expect(fitted({ width: 10, height: 10 }, 0, 0)).toEqual({ k: 1, x: 0, y: 0 });
});

test('zooming keeps the point under the pointer where it is', () => {
  const before = { k: 1, x: 10, y: 20 };
  const after = zoomed(before, 2, 110, 70);
  expect(after.k).toBe(2);
  expect([(110 - after.x) / after.k, (70 - after.y) / after.k]).toEqual([100, 50]);
  expect(zoomed(before, 1000, 0, 0).k).toBe(4);
  expect(zoomed(before, 0.0001, 0, 0).k).toBe(0.15);
});
