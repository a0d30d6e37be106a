import { describe, expect, test } from 'vitest';
import type { LabProgress, LabSummary, StepRecord } from '../wire';
import { pathOf, totalsOf } from './path';

const lab = (id: string, track: string): LabSummary => ({
  id,
  title: id,
  summary: '',
  track,
  minutes: 10,
  variants: [],
  steps: ['one', 'two', 'three'].map((step) => ({ id: step, title: step, commands: [] })),
});
const labs = [lab('a1', 'a'), lab('a2', 'a'), lab('b1', 'b')];
const step = (id: string, seconds: number): StepRecord => ({
  id,
  done_at: '2026-01-01T10:01:00Z',
  seconds,
  attempts: 1,
  hints: 0,
  predicted: '',
});
const record = (of: string, more: Partial<LabProgress> = {}): LabProgress => ({
  lab: of,
  variant: 'default',
  session: `session of ${of}`,
  alive: true,
  started: '2026-01-01T10:00:00Z',
  last: '2026-01-01T11:00:00Z',
  steps: [step('one', 60)],
  total_steps: 3,
  ...more,
});
const done = { done_at: '2026-01-01T11:00:00Z' };
const nothingKept = (): undefined => undefined;
const path = (...records: LabProgress[]) => pathOf(labs, { labs: records }, nothingKept);

test('labs stand in their tracks, in the order that they came in, and are counted in each', () => {
  const { tracks } = pathOf(labs, null, nothingKept);
  expect(tracks.map((t) => [t.id, t.stations.map((s) => [s.number, s.lab.id, s.state])])).toEqual([
    [
      'a',
      [
        [1, 'a1', 'todo'],
        [2, 'a2', 'todo'],
      ],
    ],
    ['b', [[1, 'b1', 'todo']]],
  ]);
});

describe('what to do now', () => {
  test.each<[string, LabProgress[], string | null, string | null]>([
    ['nothing was done: the first lab', [], null, 'a1'],
    ['one is under way: that one', [record('a2')], 'a2', 'a2'],
    [
      'two are under way: the one used last',
      [record('a1', { last: '2026-01-01T12:00:00Z' }), record('b1')],
      'a1',
      'a1',
    ],
    ['one is done: the first that is not', [record('a1', done)], null, 'a2'],
    ['its session is gone: begun again', [record('a1', { alive: false })], null, 'a1'],
    ['all is done: nothing', labs.map((l) => record(l.id, done)), null, null],
  ])('%s', (_, records, resume, next) => {
    const found = path(...records);
    expect([found.resume?.lab.id ?? null, found.next?.lab.id ?? null]).toEqual([resume, next]);
  });

  test('a session that only this browser remembers can be gone on with, unless the server knows better', () => {
    const kept = (of: string): string | undefined => (of === 'a2' ? 'remembered' : undefined);
    expect(pathOf(labs, null, kept).resume).toMatchObject({ session: 'remembered', steps: null });
    expect(pathOf(labs, { labs: [record('a2', { alive: false })] }, kept).resume).toBeNull();
  });
});

test('a lab that was done once stays done when it is begun again', () => {
  const again = record('a1', { session: 'again', last: '2026-01-02T10:00:00Z' });
  const { tracks, resume } = path(record('a1', { ...done, alive: false }), again);
  expect(tracks[0]?.stations[0]).toMatchObject({ state: 'done', steps: 1, session: 'again' });
  expect(tracks[0]?.done).toBe(1);
  expect(resume).toBeNull();
});

test('the totals count every lab and step once', () => {
  const twice = [
    record('a1', {
      ...done,
      steps: [
        step('one', 60),
        step('two', 0),
        { id: 'three', seconds: 5, attempts: 1, hints: 0, predicted: '' },
      ],
    }),
    record('a1', { ...done, steps: [step('one', 90)] }),
    record('b1', { steps: [step('one', 210)] }),
  ];
  expect(totalsOf({ labs: twice })).toEqual({ labs: 1, steps: 3, minutes: 5 });
  expect(totalsOf({ labs: [] })).toEqual({ labs: 0, steps: 0, minutes: 0 });
});
