import { describe, expect, test } from 'vitest';
import { Heights } from './heights';

describe('a long list', () => {
  test('of equal rows', () => {
    const h = new Heights(50_000, 27);
    expect(h.total).toBe(1_350_000);
    expect([h.at(0), h.at(26), h.at(27), h.at(1e9)]).toEqual([0, 0, 1, 49_999]);
    expect(h.window(27_000, 270, 5)).toEqual({ first: 995, end: 1016 });
  });

  test('that is empty', () => {
    expect(new Heights(0, 27).window(0, 300, 5)).toEqual({ first: 0, end: 0 });
  });

  test('never shows more than the window holds and what is asked for besides', () => {
    const h = new Heights(50_000, 27, [{ index: 100, extra: 5000 }]);
    for (let top = 0; top < 20_000; top += 311) {
      const { first, end } = h.window(top, 300, 6);
      expect(end - first).toBeLessThanOrEqual(Math.ceil(300 / 27) + 1 + 12);
    }
  });

  test('with unfolded rows is what adding up one by one gives', () => {
    const unfolded = [
      { index: 2, extra: 50 },
      { index: 3, extra: 7 },
      { index: 9, extra: 100 },
    ];
    const h = new Heights(12, 10, unfolded);
    let y = 0;
    for (let i = 0; i < 12; i++) {
      const height = 10 + (unfolded.find((u) => u.index === i)?.extra ?? 0);
      expect(h.top(i)).toBe(y);
      expect([h.at(y), h.at(y + height - 0.5)]).toEqual([i, i]);
      y += height;
    }
    expect(h.total).toBe(y);
  });
});
