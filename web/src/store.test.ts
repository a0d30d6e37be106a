import { beforeEach, describe, expect, test } from 'vitest';
import { RequestError, type Api } from './api';
import type { StreamEvents } from './socket';
import { Store } from './store.svelte';
import type { Lab, Node, ProbeResult, Problem, Progress, Session, Snapshot } from './wire';

const session = (more: Partial<Session> = {}): Session => ({
  id: 's1',
  lab: 'one',
  variant: 'default',
  language: 'en',
  state: 'ready',
  steps: [{ id: 'first', state: 'todo' }],
  nodes: ['host1'],
  ...more,
});
const lab: Lab = {
  id: 'one',
  title: 'One',
  summary: '',
  track: 'A',
  minutes: 1,
  language: 'en',
  variants: [],
  steps: [],
};
const host1: Node = {
  id: 'host1',
  kind: 'host',
  links: [],
  routes: [],
  rules: [],
  neighbours: [],
  fdb: [],
  firewall: [],
  sockets: [],
  sysctls: {},
  counters: {},
};
const snapshot = (revision: number, ...nodes: Node[]): Snapshot => ({ revision, nodes: [host1, ...nodes] });
const result = (at: string): ProbeResult => ({
  probe: { from: 'host1', kind: 'ping', to: '10.0.0.1' },
  ok: true,
  sent: 1,
  received: 1,
  at,
});
const refuse = (problem: Partial<Problem>) => (): Promise<never> =>
  Promise.reject(new RequestError({ code: 'x', title: 'No', ...problem }));
const unexpected = refuse({ code: 'unexpected' });

/** A store with a server of canned answers and a line that the test speaks on. */
function setUp(answers: Partial<Api> = {}) {
  const api: Api = {
    labs: unexpected,
    catalogue: unexpected,
    lab: () => Promise.resolve(lab),
    demoLab: unexpected,
    create: unexpected,
    createFree: unexpected,
    progress: unexpected,
    forget: unexpected,
    session: () => Promise.resolve(session()),
    speak: unexpected,
    end: unexpected,
    reset: unexpected,
    changes: unexpected,
    hint: unexpected,
    glossary: unexpected,
    apply: unexpected,
    predict: unexpected,
    op: unexpected,
    exec: unexpected,
    probe: unexpected,
    streamUrl: (id) => `ws://here/${id}`,
    demoUrl: (what) => `ws://here/demo/${what}`,
    ...answers,
  };
  const line = { events: null as StreamEvents | null, resyncs: 0, here: [] as boolean[], closed: false };
  const store = new Store(api, (_, events) => {
    line.events = events;
    return {
      resync: () => line.resyncs++,
      present: (here) => line.here.push(here),
      close: () => (line.closed = true),
    };
  });
  return { store, line };
}

test('whether the reader is there is told, also if they left before the line was open', async () => {
  const { store, line } = setUp();
  store.present(false);
  await store.open('s1', 'en');
  store.present(true);
  expect(line.here).toEqual([false, true]);
});

describe('a session that is open', () => {
  let at: ReturnType<typeof setUp>;
  beforeEach(async () => {
    at = setUp({ apply: () => Promise.resolve({ ...session(), revision: 2, probes: [result('t1')] }) });
    await at.store.open('s1', 'en');
  });
  const say: StreamEvents['message'] = (m) => at.line.events?.message(m);

  test('shows the snapshot and follows its diffs', () => {
    say({ type: 'snapshot', snapshot: snapshot(1) });
    say({
      type: 'diff',
      diff: { from: 1, to: 2, changed: [{ id: 'host1', routes: [{ dst: '0.0.0.0/0' }] }] },
    });
    expect(at.store.snapshot?.revision).toBe(2);
    expect([...at.store.changed]).toEqual(['host1']);
    expect(at.line.resyncs).toBe(0);
  });

  test('asks for a snapshot where a diff is missing, and keeps what it has', () => {
    say({ type: 'snapshot', snapshot: snapshot(1) });
    say({ type: 'diff', diff: { from: 2, to: 3 } });
    expect(at.line.resyncs).toBe(1);
    expect(at.store.snapshot?.revision).toBe(1);
    say({ type: 'snapshot', snapshot: snapshot(3) });
    expect(at.store.snapshot?.revision).toBe(3);
  });

  test('asks for a snapshot where a diff comes before any', () => {
    say({ type: 'diff', diff: { from: 2, to: 3 } });
    expect(at.line.resyncs).toBe(1);
  });

  test('keeps a result once that comes by both ways, newest first', async () => {
    say({ type: 'probe', result: result('t1') });
    await at.store.apply('first');
    say({ type: 'probe', result: result('t2') });
    expect(at.store.results.map((r) => r.at)).toEqual(['t2', 't1']);
  });

  test('counts a result to the step in which it came', async () => {
    const ping = result('').probe;
    await at.store.apply('first');
    say({ type: 'session', session: session({ current: 'second' }) });
    expect(at.store.resultOf('first', ping)?.at).toBe('t1');
    expect(at.store.resultOf('second', ping)).toBeUndefined();
    say({ type: 'probe', result: result('t2') });
    expect(at.store.resultOf('first', ping)?.at).toBe('t1');
    expect(at.store.resultOf('second', ping)?.at).toBe('t2');
    expect(at.store.resultOf('second', { ...ping, kind: 'tcp' })).toBeUndefined();
  });

  test('lets go of what was selected when it vanishes', () => {
    say({ type: 'snapshot', snapshot: snapshot(1, { ...host1, id: 'host1/kon', kind: 'netns' }) });
    at.store.select('host1/kon:veth2');
    say({ type: 'diff', diff: { from: 1, to: 2, order: ['host1'] } });
    expect(at.store.selected).toBeNull();
  });

  test('knows that it ended, and why', () => {
    say({ type: 'ended', reason: 'idle' });
    expect([at.store.connection, at.store.ended]).toEqual(['gone', 'idle']);
  });

  test('knows since when the picture is not live', () => {
    const { line, store } = at;
    const says = (c: 'live' | 'reconnecting'): void => line.events?.state(c);
    says('live');
    expect(store.liveUntil).toBeNull();
    says('reconnecting');
    const since = store.liveUntil;
    expect(since).toBeInstanceOf(Date);
    says('reconnecting');
    expect(store.liveUntil).toBe(since);
    says('live');
    expect(store.liveUntil).toBeNull();
  });

  test('closes its line when the reader leaves', () => {
    at.store.leave();
    expect(at.line.closed).toBe(true);
    expect(at.store.session).toBeNull();
  });
});

test('a language that is chosen while labs are read is the one that they are shown in', async () => {
  const asked: string[] = [];
  const { store } = setUp({
    labs: (language) => {
      asked.push(language);
      return Promise.resolve([{ ...lab, title: language }]);
    },
  });
  await Promise.all([store.loadLabs('en'), store.loadLabs('ko')]);
  expect(asked).toEqual(['en', 'ko']);
  expect(store.labs?.[0]?.title).toBe('ko');
});

describe('what is known of the labs', () => {
  const edition = (name: string, ...left_out: string[]) => ({
    edition: name,
    draft: true,
    left_out: left_out.map((id) => ({ id })),
  });

  test('is asked for again, and the labs are read anew where they were edited', async () => {
    const editions = [edition('1', 'x'), edition('1', 'x'), edition('2')];
    const read: string[] = [];
    const { store } = setUp({
      catalogue: async () => editions.shift() ?? edition('2'),
      labs: async (language) => (read.push(language), []),
    });
    await store.loadLabs('vi');
    await store.loadCatalogue();
    expect(store.catalogue?.left_out).toEqual([{ id: 'x' }]);
    await store.loadCatalogue();
    expect(read).toEqual(['vi']);
    await store.loadCatalogue();
    expect(read).toEqual(['vi', 'vi']);
    expect(store.catalogue?.left_out).toEqual([]);
  });

  test('stays as it was while nobody answers', async () => {
    const answers = [() => Promise.resolve(edition('1', 'x')), refuse({ code: 'unreachable' })];
    const { store } = setUp({ catalogue: () => (answers.shift() ?? unexpected)() });
    await store.loadCatalogue();
    await store.loadCatalogue();
    expect(store.catalogue?.left_out).toEqual([{ id: 'x' }]);
  });
});

test('a lab that was edited is read again, and what is told of the session meanwhile stays', async () => {
  let answer = (_: Lab): void => undefined;
  const edited = new Promise<Lab>((resolve) => (answer = resolve));
  const answers = [Promise.resolve(lab), edited];
  const { store, line } = setUp({ lab: () => answers.shift() ?? edited });
  await store.open('s1', 'en');
  line.events?.message({ type: 'lab' });
  line.events?.message({ type: 'session', session: session({ stale: true }) });
  answer({ ...lab, title: 'Two' });
  await expect.poll(() => store.lab?.title).toBe('Two');
  expect(store.session?.stale).toBe(true);
});

describe('another language', () => {
  const speaks = () =>
    setUp({
      speak: (_, language) => {
        const steps = [{ id: 'first', state: 'todo' as const, hint: `${language}: try` }];
        return Promise.resolve(session({ language, steps }));
      },
      lab: (_, language) => Promise.resolve({ ...lab, language }),
    });

  test('is that of the lab and of the hints', async () => {
    const { store } = speaks();
    await store.open('s1', 'en');
    await store.translate('ko');
    expect(store.lab?.language).toBe('ko');
    expect(store.session?.language).toBe('ko');
    expect(store.session?.steps[0]?.hint).toBe('ko: try');
  });

  test('that is chosen while one is read is the one that stays', async () => {
    const { store } = speaks();
    await store.open('s1', 'en');
    await Promise.all([store.translate('ko'), store.translate('vi')]);
    expect([store.lab?.language, store.session?.language]).toEqual(['vi', 'vi']);
  });

  test('is spoken by a session that was begun in one, and is not asked for twice', async () => {
    const asked: string[] = [];
    const { store } = setUp({
      speak: (_, language) => {
        asked.push(language);
        return Promise.resolve(session({ language }));
      },
    });
    await store.open('s1', 'id');
    await store.translate('id');
    expect(asked).toEqual(['id']);
    expect(store.session?.language).toBe('id');
  });
});

test('what was done is forgotten once the server has forgotten it', async () => {
  const done: Progress = {
    labs: [
      {
        lab: 'one',
        variant: 'default',
        session: 's1',
        alive: false,
        started: '2026-01-01T10:00:00Z',
        last: '2026-01-01T10:00:00Z',
        steps: [],
        total_steps: 1,
      },
    ],
  };
  const { store } = setUp({ progress: () => Promise.resolve(done), forget: unexpected });
  await store.loadProgress();
  expect(await store.forget()).toBe(false);
  expect(store.progress).toEqual(done);
  const willing = setUp({ forget: () => Promise.resolve() });
  expect(await willing.store.forget()).toBe(true);
  expect(willing.store.progress).toEqual({ labs: [] });
});

test('the demo that is held stays as it is, and goes on with what it is told next', () => {
  const { store, line } = setUp();
  store.openDemo();
  line.events?.message({ type: 'snapshot', snapshot: snapshot(1) });
  store.hold();
  expect(line.closed).toBe(true);
  expect(store.snapshot?.revision).toBe(1);
  store.openDemo();
  line.events?.message({ type: 'snapshot', snapshot: snapshot(7) });
  expect(store.snapshot?.revision).toBe(7);
});

describe('an answer that comes when the reader is elsewhere', () => {
  test('opens no line', async () => {
    const { store, line } = setUp();
    const opening = store.open('s1', 'en');
    store.leave();
    await opening;
    expect(line.events).toBeNull();
    expect(store.session).toBeNull();
  });

  test('changes nothing', async () => {
    const { store } = setUp({
      apply: () => Promise.resolve({ ...session(), revision: 1, probes: [result('t')] }),
    });
    await store.open('s1', 'en');
    const applying = store.apply('first');
    store.leave();
    await applying;
    expect([store.session, store.results]).toEqual([null, []]);
  });
});

describe('what goes wrong', () => {
  test('is kept where it was asked for, until the next try', async () => {
    const answers: Problem[] = [{ code: 'op-failed', title: 'The kernel refused', command: 'ip link add' }];
    const { store } = setUp({
      apply: () => {
        const p = answers.pop();
        return p
          ? Promise.reject(new RequestError(p))
          : Promise.resolve({ ...session(), revision: 1, probes: [] });
      },
    });
    await store.open('s1', 'en');
    await store.apply('first');
    expect(store.problem('step:first')?.command).toBe('ip link add');
    expect(store.problem('command')).toBeUndefined();
    expect(store.busy('step:first')).toBe(false);
    await store.apply('first');
    expect(store.problem('step:first')).toBeUndefined();
  });

  test.each([401, 404, 410])('a session that answers %i is gone', async (status) => {
    const { store, line } = setUp({ session: refuse({ status }) });
    await store.open('s1', 'en');
    expect(store.connection).toBe('gone');
    expect(line.events).toBeNull();
  });

  test('a server that is not ready is a problem, not a lost session', async () => {
    const { store } = setUp({ session: refuse({ status: 503, code: 'unavailable' }) });
    await store.open('s1', 'en');
    expect(store.connection).toBe('connecting');
    expect(store.problem('session')?.code).toBe('unavailable');
  });

  test('one press is one request', async () => {
    let calls = 0;
    const { store } = setUp({
      apply: () => {
        calls++;
        return Promise.resolve({ ...session(), revision: 1, probes: [] });
      },
    });
    await store.open('s1', 'en');
    await Promise.all([store.apply('first'), store.apply('first')]);
    expect(calls).toBe(1);
  });
});

describe('a step whose commands are run one by one', () => {
  const commands = ['a', 'b', 'c'].map((command) => ({ node: 'host1', command }));
  const ping = { ...result('').probe, command: 'ping -c 1 -W 1 10.0.0.1' };
  const steps = [{ id: 'first', title: 'First', commands, probes: [ping] }];
  let asked: string[];
  const setUpStep = async (more: Partial<Api> = {}): Promise<Store> => {
    asked = [];
    const { store } = setUp({
      lab: () => Promise.resolve({ ...lab, steps }),
      op: (_, node, command) => {
        asked.push(`${node} ${command}`);
        return Promise.resolve({ ...session(), revision: 2, command });
      },
      probe: () => {
        asked.push('probe');
        return Promise.resolve(result('t1'));
      },
      ...more,
    });
    await store.open('s1', 'en');
    return store;
  };
  const ran = (store: Store): boolean[] => commands.map((_, i) => store.hasRun('first', i));

  test('is finished by the rest of them, and by its tests', async () => {
    const store = await setUpStep();
    await store.runLine('first', 1);
    expect(ran(store)).toEqual([false, true, false]);
    await store.apply('first');
    expect(asked).toEqual(['host1 b', 'host1 a', 'host1 c', 'probe']);
    expect(ran(store)).toEqual([true, true, true]);
  });

  test('stops at the one that fails', async () => {
    const store = await setUpStep({ op: refuse({ command: 'a', errno: 'EEXIST' }) });
    await store.runLine('first', 0);
    expect(store.problem('line:first 0')?.errno).toBe('EEXIST');
    expect(ran(store)).toEqual([false, false, false]);
  });

  test('knows after a whole step that failed what was done before it', async () => {
    const store = await setUpStep({ apply: refuse({ command: 'c', applied: 2 }) });
    await store.apply('first');
    expect(ran(store)).toEqual([true, true, false]);
    await store.apply('first');
    expect(asked).toEqual(['host1 c', 'probe']);
    expect(store.problem('step:first')).toBeUndefined();
  });

  test('begins anew after a reset', async () => {
    const store = await setUpStep({ reset: () => Promise.resolve(session()) });
    await store.runLine('first', 1);
    await store.reset('first');
    expect(ran(store)).toEqual([false, false, false]);
  });
});
