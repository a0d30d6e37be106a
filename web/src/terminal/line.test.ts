import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Line, type End, type LineState } from './line';
import type { ServerMessage, Size } from './protocol';

class FakeSocket {
  static readonly OPEN = 1;
  static all: FakeSocket[] = [];
  static get last(): FakeSocket {
    return FakeSocket.all.at(-1) as FakeSocket;
  }
  onmessage: ((e: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  readyState = FakeSocket.OPEN;
  sent: string[] = [];

  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }
  send(data: string | Uint8Array): void {
    this.sent.push(typeof data === 'string' ? data : `typed ${new TextDecoder().decode(data)}`);
  }
  close(): void {
    this.readyState = 3;
  }
  say(m: ServerMessage): void {
    this.onmessage?.({ data: JSON.stringify(m) });
  }
  show(bytes: string | number): void {
    const shown = typeof bytes === 'string' ? new TextEncoder().encode(bytes) : new Uint8Array(bytes);
    this.onmessage?.({ data: shown.buffer });
  }
  break(): void {
    this.readyState = 3;
    this.onclose?.();
  }
}

const clear = '\x1bc';
let sheet: { bytes: Uint8Array; drawn: () => void }[];
let states: LineState[];
let ids: string[];
let sizes: Size[];
let ends: End[];
let checked: true | End | null;
let line: Line;

/** Draws what waits, or so many writes of it. */
function draw(n = sheet.length): string {
  return sheet
    .splice(0, n)
    .map(({ bytes, drawn }) => {
      drawn();
      return new TextDecoder().decode(bytes);
    })
    .join('');
}
const hello = (replay = 0, id = 't1'): ServerMessage => ({
  type: 'terminal',
  id,
  node: 'host1',
  rows: 24,
  cols: 80,
  ...(replay && { replay }),
});
const acks = (s: FakeSocket): number[] =>
  s.sent.filter((m) => m.startsWith('{"type":"ack"')).map((m) => (JSON.parse(m) as { bytes: number }).bytes);

function begin(id?: string): void {
  const place = {
    url: (at?: string) => `ws://here/${at ?? 'new'}`,
    check: () => Promise.resolve(checked),
  };
  const paper = { write: (bytes: Uint8Array, drawn: () => void) => void sheet.push({ bytes, drawn }) };
  const events = {
    state: (s: LineState) => void states.push(s),
    attached: (s: string) => void ids.push(s),
    shown: () => undefined,
    size: (s: Size) => void sizes.push(s),
    end: (e: End) => void ends.push(e),
  };
  line = new Line(id, place, paper, events, { first: 100, longest: 1000 });
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('WebSocket', FakeSocket);
  FakeSocket.all = [];
  [sheet, states, ids, sizes, ends, checked] = [[], [], [], [], [], true];
});
afterEach(() => {
  line.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('a new terminal is started, one that runs is attached to', () => {
  begin();
  expect(FakeSocket.last.url).toBe('ws://here/new');
  FakeSocket.last.say(hello());
  expect([states, ids]).toEqual([['connecting', 'live'], ['t1']]);
  line.close();
  begin('t7');
  expect(FakeSocket.last.url).toBe('ws://here/t7');
});

test('what is shown is drawn after the screen was emptied', () => {
  begin('t1');
  FakeSocket.last.say(hello(3));
  FakeSocket.last.show('oldnew');
  expect(draw()).toBe(`${clear}oldnew`);
});

describe('what the screen answers', () => {
  const answer = '\x1b[1;1R';

  test('to old output is kept, until all of it is drawn', () => {
    begin('t1');
    FakeSocket.last.say(hello(6));
    FakeSocket.last.show('old');
    FakeSocket.last.show('oldnew');
    draw(2);
    line.type(answer);
    line.type('x');
    draw(1);
    line.type(answer);
    expect(FakeSocket.last.sent).toEqual(['typed x', `typed ${answer}`]);
  });

  test('is sent at once where nothing is old', () => {
    begin();
    FakeSocket.last.say(hello());
    line.type(answer);
    expect(FakeSocket.last.sent).toEqual([`typed ${answer}`]);
  });

  test('is kept during a second replay, though the first is drawn meanwhile', () => {
    begin('t1');
    FakeSocket.last.say(hello(3));
    FakeSocket.last.show('one');
    FakeSocket.last.say(hello(3));
    draw();
    line.type(answer);
    expect(FakeSocket.last.sent).toEqual([]);
    FakeSocket.last.show('two');
    expect(draw()).toBe('two');
    line.type(answer);
    expect(FakeSocket.last.sent).toEqual([`typed ${answer}`]);
  });
});

describe('flow control', () => {
  test('tells what was drawn, not what came', () => {
    begin();
    FakeSocket.last.say(hello());
    for (let i = 0; i < 4; i++) FakeSocket.last.show(10_000);
    expect(acks(FakeSocket.last)).toEqual([]);
    draw();
    expect(acks(FakeSocket.last)).toEqual([20_000, 20_000]);
  });

  test('counts replayed bytes, too', () => {
    begin('t1');
    FakeSocket.last.say(hello(20_000));
    FakeSocket.last.show(20_001);
    draw();
    expect(acks(FakeSocket.last)).toEqual([20_000]);
  });

  test('never owes so much that the server waits for ever', () => {
    begin();
    FakeSocket.last.say(hello());
    for (let i = 0; i < 300; i++) FakeSocket.last.show(1000);
    draw();
    const told = acks(FakeSocket.last).reduce((a, b) => a + b, 0);
    expect(300_000 - told).toBeLessThan(64 << 10);
  });

  test('begins anew with each connection', async () => {
    begin();
    FakeSocket.last.say(hello());
    FakeSocket.last.show(30_000);
    FakeSocket.last.break();
    await vi.advanceTimersByTimeAsync(200);
    FakeSocket.last.say(hello(10));
    draw();
    expect(FakeSocket.all).toHaveLength(2);
    expect(FakeSocket.all.flatMap(acks)).toEqual([]);
  });
});

test('a long paste goes in pieces', () => {
  begin();
  FakeSocket.last.say(hello());
  const text = 'à안'.repeat(10_000);
  line.type(text);
  const { sent } = FakeSocket.last;
  expect(sent.length).toBeGreaterThan(1);
  // A piece may end within a character; the lengths tell.
  expect(Math.max(...sent.map((s) => s.length))).toBeLessThanOrEqual(16 * 1024 + 6);
});

test('comes back to the same shell after a break', async () => {
  begin();
  FakeSocket.last.say(hello(0, 't3'));
  FakeSocket.last.break();
  line.type('lost');
  await vi.advanceTimersByTimeAsync(200);
  expect(FakeSocket.last.url).toBe('ws://here/t3');
  FakeSocket.last.say(hello(4, 't3'));
  FakeSocket.last.show('back');
  expect(draw()).toBe(`${clear}${clear}back`);
  expect(states).toEqual(['connecting', 'live', 'reconnecting', 'live']);
});

test('waits longer while nobody answers, and goes on', async () => {
  begin('t1');
  checked = null;
  FakeSocket.last.break();
  await vi.advanceTimersByTimeAsync(20_000);
  expect(FakeSocket.all).toHaveLength(1);
  checked = true;
  await vi.advanceTimersByTimeAsync(1000);
  expect(FakeSocket.all).toHaveLength(2);
});

test('ends when there is nothing to come back to', async () => {
  begin('t1');
  checked = { reason: 'no-such-terminal' };
  FakeSocket.last.break();
  await vi.advanceTimersByTimeAsync(200);
  expect(ends).toEqual([{ reason: 'no-such-terminal' }]);
  expect(states.at(-1)).toBe('over');
});

test.each([
  [{ type: 'exit', code: 130 }, { code: 130 }],
  [{ type: 'ended', reason: 'reset' }, { reason: 'reset' }],
] as [ServerMessage, End][])('ends with %o and does not come back', async (said, end) => {
  begin();
  FakeSocket.last.say(hello());
  FakeSocket.last.say(said);
  FakeSocket.last.break();
  await vi.advanceTimersByTimeAsync(20_000);
  expect(ends).toEqual([end]);
  expect(FakeSocket.all).toHaveLength(1);
});

test('sizes go both ways', () => {
  begin();
  FakeSocket.last.say(hello());
  line.resize({ rows: 10, cols: 40 });
  FakeSocket.last.say({ type: 'size', rows: 30, cols: 100 });
  expect(FakeSocket.last.sent).toEqual(['{"type":"size","rows":10,"cols":40}']);
  expect(sizes).toEqual([{ rows: 30, cols: 100 }]);
});
