import { describe, expect, test } from 'vitest';
import { dropAt } from './drop';
import { homes, least, presets, screenScale } from './presets';
import {
  arrange,
  distribute,
  hide,
  join,
  paneIds,
  parse,
  part,
  resize,
  show,
  sides,
  split,
  stack,
  stacks,
  swap,
  type Box,
  type Layout,
  type Tree,
} from './tree';

const room: Box = { x: 0, y: 0, width: 1440, height: 840 };

/** A layout in one line: rows in (), columns in [], stacks with the one in front first. */
function line(t: Tree): string {
  if ('panes' in t) return [t.front, ...t.panes.filter((p) => p !== t.front)].join('+');
  const [open, close] = t.flow === 'row' ? '()' : '[]';
  return `${open ?? ''}${t.parts.map((p) => line(p.tree)).join(' ')}${close ?? ''}`;
}
const small: Layout = {
  tree: split(
    'row',
    [1, stack('lesson')],
    [2, split('column', [1, stack('topology')], [1, stack('terminal', 'probe')])],
  ),
  hidden: [],
};

describe('what is done with panes', () => {
  test.each<[string, Layout, string]>([
    ['shown, it comes to the front', show(small, 'probe'), '(lesson [topology probe+terminal])'],
    ['joined, it is a tab in front', join(small, 'lesson', 'terminal'), '[topology lesson+terminal+probe]'],
    [
      'joined to its own stack, it is in front',
      join(small, 'probe', 'terminal'),
      '(lesson [topology probe+terminal])',
    ],
    [
      'swapped, each has the place of the other',
      swap(small, 'lesson', 'terminal'),
      '(terminal [topology lesson+probe])',
    ],
    [
      'swapped in one stack, nothing moves but the order',
      swap(small, 'probe', 'terminal'),
      '(lesson [topology probe+terminal])',
    ],
    [
      'at the left of another',
      part(small, 'probe', 'left', 'topology'),
      '(lesson [(probe topology) terminal])',
    ],
    [
      'at the right of all, rows become one',
      part(small, 'probe', 'right', null),
      '(lesson [topology terminal] probe)',
    ],
    ['below its own stack', part(small, 'probe', 'bottom', 'probe'), '(lesson [topology terminal probe])'],
    ['beside itself alone there is no place', part(small, 'lesson', 'left', 'lesson'), line(small.tree)],
    ['at the top of all', part(small, 'lesson', 'top', null), '[lesson topology terminal+probe]'],
  ])('%s', (_, after, wanted) => expect(line(after.tree)).toBe(wanted));

  test('hidden, it takes no room, and comes back to where it was', () => {
    const without = hide(small, 'topology');
    expect(arrange(without, room, least).stacks.map((s) => s.front)).toEqual(['lesson', 'terminal']);
    const back = arrange(show(without, 'topology'), room, least);
    expect(back).toEqual(arrange(small, room, least));
  });

  test('the one beside it comes to the front when it is hidden, and the last one stays', () => {
    let now = hide(small, 'terminal');
    expect(arrange(now, room, least).stacks.at(-1)?.front).toBe('probe');
    for (const pane of paneIds) now = hide(now, pane);
    expect(arrange(now, room, least).stacks).toHaveLength(1);
  });
});

describe('room', () => {
  test.each([
    [
      'by share',
      300,
      [
        [1, 0],
        [2, 0],
      ],
      [100, 200],
    ],
    [
      'in whole points that add up',
      100,
      [
        [1, 0],
        [1, 0],
        [1, 0],
      ],
      [33, 34, 33],
    ],
    [
      'nobody below the least',
      300,
      [
        [1, 120],
        [9, 0],
      ],
      [120, 180],
    ],
    [
      'one at its least may push another there',
      300,
      [
        [1, 100],
        [2, 90],
        [9, 100],
      ],
      [100, 90, 110],
    ],
    [
      'too little: in proportion to the leasts',
      150,
      [
        [1, 200],
        [9, 100],
      ],
      [100, 50],
    ],
  ] as [string, number, [number, number][], number[]][])('%s', (_, total, parts, wanted) =>
    expect(
      distribute(
        total,
        parts.map(([share, least]) => ({ share, least })),
      ),
    ).toEqual(wanted),
  );

  /** As in mulberry32: the same numbers each time. */
  function chance(seed: number): (below: number) => number {
    return (below) => {
      seed = (seed + 0x6d2b79f5) | 0;
      let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) % below;
    };
  }
  const same = (a: readonly string[], b: readonly string[]): boolean =>
    a.toSorted().join() === b.toSorted().join();
  const area = (boxes: Box[]): number => boxes.reduce((sum, b) => sum + b.width * b.height, 0);
  const apart = (a: Box, b: Box): boolean =>
    a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;

  test('whatever is done, all is filled, nothing overlaps, every pane is there once, and it can be kept', () => {
    const faults: string[] = [];
    for (let seed = 1; seed <= 25; seed++) {
      const next = chance(seed);
      const any = <T>(of: readonly T[]): T => of[next(of.length)] as T;
      let now = homes[any(presets)];
      for (let n = 0; n < 40; n++) {
        const [a, b] = [any(paneIds), any(paneIds)];
        const { separators } = arrange(now, room, least);
        const doing: (() => Layout)[] = [
          () => show(now, a),
          () => hide(now, a),
          () => swap(now, a, b),
          () => join(now, a, b),
          () => part(now, a, any(sides), any([b, null])),
          () => (separators.length > 0 ? resize(now, any(separators), next(1500)) : now),
        ];
        now = any(doing)();
        const in_ = { x: 3, y: 7, width: 300 + next(3000), height: 200 + next(1800) };
        const placed = arrange(now, in_, least);
        const boxes = [...placed.stacks, ...placed.separators].map((s) => s.box);
        const ids = stacks(now.tree).flatMap((s) => s.panes);
        const kept = parse(JSON.stringify(now), homes.learner);
        const truths = {
          'all is filled': area(boxes) === in_.width * in_.height,
          'nothing overlaps': boxes.every((p, i) => boxes.slice(i + 1).every((q) => apart(p, q))),
          'every pane is there once': same(ids, paneIds),
          'those in sight have a place': same(
            placed.stacks.flatMap((s) => s.panes),
            ids.filter((p) => !now.hidden.includes(p)),
          ),
          'it can be kept':
            kept !== null && JSON.stringify(arrange(kept, in_, least)) === JSON.stringify(placed),
        };
        for (const [truth, holds] of Object.entries(truths))
          if (!holds) faults.push(`seed ${seed}, ${n}: not true that ${truth}`);
      }
    }
    expect(faults).toEqual([]);
  });

  test('a separator moves what is beside it, and no further than that allows', () => {
    const of = (l: Layout): number[] => arrange(l, room, least).stacks.map((s) => s.box.width);
    const [separator] = arrange(small, room, least).separators;
    if (!separator) throw new Error('no separator');
    expect(of(resize(small, separator, 500))).toEqual([500, 939, 939]);
    expect(of(resize(small, separator, 0))[0]).toBe(least('lesson').width);
    expect(of(resize(small, separator, 5000))[1]).toBe(least('topology').width);
    expect(of(resize(resize(small, separator, 900), separator, separator.at))).toEqual(of(small));
  });

  test.each(presets)('%s fits on a small screen and a large one', (preset) => {
    for (const [width, height] of [
      [1024, 586],
      [2400, 1296],
    ] as const) {
      const { stacks } = arrange(show(homes[preset], 'packets'), { ...room, width, height }, least);
      for (const s of stacks) {
        expect(s.box.width, s.front).toBeGreaterThanOrEqual(least(s.front).width);
        expect(s.box.height, s.front).toBeGreaterThanOrEqual(least(s.front).height);
      }
    }
  });
});

test.each([
  ['nothing', null],
  ['no JSON', '{'],
  ['something else', '[1]'],
  ['no panes', '{"tree":{"panes":[],"front":""},"hidden":[]}'],
])('%s is no kept layout', (_, text) => expect(parse(text, homes.learner)).toBeNull());

test('a kept layout that does not know a pane yet has it where the preset has it; what is not a pane is left out', () => {
  const old = {
    tree: {
      flow: 'row',
      parts: [
        { share: 1, tree: { panes: ['lesson', 'radio'], front: 'radio' } },
        { share: 3, tree: { panes: ['terminal', 'lesson'], front: 'terminal' } },
      ],
    },
    hidden: ['radio'],
  };
  const now = parse(JSON.stringify(old), homes.learner) as Layout;
  expect(line(now.tree)).toBe('(lesson terminal+topology+packets+probe+command+inspect)');
  expect(now.hidden).toEqual(['packets']);
});

test.each([
  ['over a head: a tab', 700, 28, 'join topology'],
  ['in the middle: change places', 900, 200, 'swap topology'],
  ['near a border: a part', 490, 200, 'part left topology'],
  ['at the rim of the page: a part of it', 1436, 300, 'part right null'],
  ['on itself: nothing', 200, 400, ''],
  ['outside: nothing', -5, 400, ''],
])('a pane that is let go of %s', (_, x, y, wanted) => {
  const { stacks } = arrange(small, room, least);
  const drop = dropAt('lesson', stacks, room, x, y);
  const said =
    drop &&
    (drop.what === 'part' ? `part ${drop.side} ${String(drop.target)}` : `${drop.what} ${drop.target}`);
  expect(said ?? '').toBe(wanted);
});

test.each([
  [1024, 640, 1],
  [1920, 1080, 1],
  [2560, 1440, 1.2],
  [3440, 1440, 1.2],
  [3840, 2160, 1.6],
  [7680, 4320, 1.6],
])('letters on a screen of %i × %i are %f times as large', (width, height, wanted) =>
  expect(screenScale(width, height)).toBeCloseTo(wanted, 2),
);
