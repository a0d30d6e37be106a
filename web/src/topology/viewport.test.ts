import { expect, test } from 'vitest';
import { anchored, between, fitted, pinched, zoomed } from './viewport';

test('a picture is fitted into its pane, centred', () => {
  expect(fitted({ width: 1000, height: 500 }, 500, 500)).toEqual({ k: 0.5, x: 0, y: 125 });
});

test.each([
  [700, 300, 1.35], // of a window of 1024×640
  [1050, 420, 1.35], // of 1440×900
  [2760, 1060, 2.12], // of a 4K screen
  [3800, 1900, 2.4],
])('a small picture is not blown up without end: in a pane of %i×%i to %f', (width, height, k) => {
  expect(fitted({ width: 10, height: 10 }, width, height).k).toBe(k);
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

test('two fingers that part zoom in, around what is between them', () => {
  const v = pinched(
    { k: 1, x: 0, y: 0 },
    [
      { x: 0, y: 0 },
      { x: 100, y: 0 },
    ],
    [
      { x: -50, y: 0 },
      { x: 150, y: 0 },
    ],
  );
  expect(v).toEqual({ k: 2, x: -50, y: 0 });
});

test('two fingers that move together move the picture', () => {
  const v = pinched(
    { k: 1, x: 5, y: 5 },
    [
      { x: 0, y: 0 },
      { x: 100, y: 0 },
    ],
    [
      { x: 7, y: 9 },
      { x: 107, y: 9 },
    ],
  );
  expect(v).toEqual({ k: 1, x: 12, y: 14 });
});

test('what is in the middle stays there when the picture around it grows', () => {
  const before = {
    items: [
      { id: 'a', box: { x: 0, y: 0 } },
      { id: 'b', box: { x: 100, y: 100 } },
    ],
  };
  const after = {
    items: [
      { id: 'a', box: { x: 0, y: 0 } },
      { id: 'b', box: { x: 150, y: 120 } },
    ],
  };
  expect(anchored({ k: 2, x: 10, y: 10 }, before, after, { x: 200, y: 200 })).toEqual({
    k: 2,
    x: -90,
    y: -30,
  });
  expect(anchored({ k: 2, x: 10, y: 10 }, before, { items: [] }, { x: 0, y: 0 })).toEqual({
    k: 2,
    x: 10,
    y: 10,
  });
});

test('a glide begins and ends where it is meant to', () => {
  const [a, b] = [
    { k: 1, x: 0, y: 0 },
    { k: 2, x: 10, y: -10 },
  ];
  expect(between(a, b, 0)).toEqual(a);
  expect(between(a, b, 1)).toEqual(b);
});
