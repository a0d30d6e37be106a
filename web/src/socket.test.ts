import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Stream, type Connection } from './socket';
import type { StreamMessage } from './wire';

class FakeSocket {
  static all: FakeSocket[] = [];
  static readonly OPEN = 1;
  readyState = 0;
  said: string[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((e: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  closed = false;

  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }
  close(): void {
    this.closed = true;
  }
  send(m: string): void {
    this.said.push(m);
  }
  open(): void {
    this.readyState = FakeSocket.OPEN;
    this.onopen?.();
  }
  say(m: unknown): void {
    this.onmessage?.({ data: typeof m === 'string' ? m : JSON.stringify(m) });
  }
  break(): void {
    this.onclose?.();
  }
  static get last(): FakeSocket {
    return FakeSocket.all.at(-1) as FakeSocket;
  }
}

let states: Connection[];
let messages: StreamMessage[];
let alive: boolean;
let stream: Stream;
const hello: StreamMessage = { type: 'snapshot', snapshot: { revision: 1, nodes: [] } };

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('WebSocket', FakeSocket);
  FakeSocket.all = [];
  [states, messages, alive] = [[], [], true];
  const events = {
    state: (s: Connection) => void (states.at(-1) !== s && states.push(s)),
    message: (m: StreamMessage) => void messages.push(m),
  };
  stream = new Stream('ws://here', events, () => Promise.resolve(alive), { first: 100, longest: 1000 });
});

afterEach(() => {
  stream.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('is live with the first message', () => {
  FakeSocket.last.say(hello);
  expect(states).toEqual(['connecting', 'live']);
  expect(messages).toEqual([hello]);
});

test('comes back after a break, and waits longer each time', async () => {
  FakeSocket.last.say(hello);
  const waits: number[] = [];
  for (let i = 0; i < 6; i++) {
    const sockets = FakeSocket.all.length;
    FakeSocket.last.break();
    const began = Date.now();
    while (FakeSocket.all.length === sockets) await vi.advanceTimersByTimeAsync(10);
    waits.push(Date.now() - began);
  }
  expect(states).toEqual(['connecting', 'live', 'reconnecting']);
  expect(waits[0]).toBeLessThanOrEqual(110);
  expect(waits.at(-1)).toBeGreaterThanOrEqual(500);
  expect(waits.at(-1)).toBeLessThanOrEqual(1010);
  FakeSocket.last.say(hello);
  expect(states.at(-1)).toBe('live');
});

test('tells that the reader is away, also on the socket that comes after', async () => {
  const first = FakeSocket.last;
  first.open();
  stream.present(true); // is taken for granted
  stream.present(false);
  stream.present(false);
  expect(first.said).toEqual(['{"type":"away"}']);
  first.break();
  await vi.advanceTimersByTimeAsync(200);
  FakeSocket.last.open();
  stream.present(true);
  expect(FakeSocket.last.said).toEqual(['{"type":"away"}', '{"type":"here"}']);
});

test('gives up when the session is gone', async () => {
  alive = false;
  FakeSocket.last.break();
  await vi.advanceTimersByTimeAsync(200);
  expect(states.at(-1)).toBe('gone');
  expect(FakeSocket.all).toHaveLength(1);
});

test('a resync begins again at once and hears the old line no more', () => {
  const [old] = FakeSocket.all as [FakeSocket];
  stream.resync();
  expect(old.closed).toBe(true);
  expect(FakeSocket.all).toHaveLength(2);
  old.say(hello);
  old.break();
  expect(messages).toEqual([]);
});

test('closes for good at the end of the session', async () => {
  FakeSocket.last.say({ type: 'ended', reason: 'over' });
  FakeSocket.last.break();
  await vi.advanceTimersByTimeAsync(5000);
  expect(FakeSocket.all).toHaveLength(1);
  expect(messages.at(-1)?.type).toBe('ended');
});

test('what is no message is left out', () => {
  for (const noise of ['{', '7', 'null', '[]']) FakeSocket.last.say(noise);
  expect(messages).toEqual([]);
});
