import { describe, expect, test } from 'vitest';
import { scenes } from '../../mock/scenes';
import type { Box, Point } from '../topology/geometry';
import { draw, type LinkItem } from '../topology/picture';
import { handlesOf, writingIn } from './handles';

const r = 10;
const covers = (at: Point, b: Box): boolean =>
  Math.hypot(Math.max(b.x - at.x, 0, at.x - b.x - b.w), Math.max(b.y - at.y, 0, at.y - b.y - b.h)) < r;

describe.each(scenes)('the handles of what is chosen, in %s', (_, snapshot) => {
  const picture = draw(snapshot);
  const links = picture.items.filter((i): i is LinkItem => i.type === 'link');

  test('cover no address, no name of an interface and no other interface', () => {
    for (const item of picture.items) {
      const { plug, more } = handlesOf(item, picture, r);
      for (const l of links) {
        const drawn = [...writingIn(l), ...(l.id === item.id || l.shape === 'bar' ? [] : [l.box])];
        for (const at of [plug, more])
          expect(
            drawn.some((b) => covers(at, b)),
            `${item.id} over ${l.id}`,
          ).toBe(false);
      }
    }
  });

  test('cover neither each other nor go astray', () => {
    for (const item of picture.items) {
      const { plug, more } = handlesOf(item, picture, r);
      expect(Math.hypot(plug.x - more.x, plug.y - more.y), item.id).toBeGreaterThan(2 * r);
      const near = { x: item.box.x - 30, y: item.box.y - 60, w: item.box.w + 60, h: item.box.h + 120 };
      for (const at of [plug, more]) expect(covers(at, near), item.id).toBe(true);
    }
  });
});
