import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Packets } from './packets.svelte';
import type { Row, ServerMessage } from './protocol';

class FakeSocket {
  static readonly OPEN = 1;
  static all: FakeSocket[] = [];
  static get last(): FakeSocket {
    return FakeSocket.all.at(-1) as FakeSocket;
  }
  onmessage: ((e: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  readyState = FakeSocket.OPEN;
  sent: unknown[] = [];

  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }
  send(data: string): void {
    this.sent.push(JSON.parse(data));
  }
  close(): void {
    this.readyState = 3;
  }
  say(...messages: ServerMessage[]): void {
    for (const m of messages) this.onmessage?.({ data: JSON.stringify(m) });
  }
  break(): void {
    this.readyState = 3;
    this.onclose?.();
  }
  get query(): Record<string, string> {
    return Object.fromEntries(new URL(this.url).searchParams);
  }
}

const start = (more: Partial<Extract<ServerMessage, { type: 'start' }>> = {}): ServerMessage => ({
  type: 'start',
  started: '2026-01-01T00:00:00Z',
  filter: '',
  snap: 256,
  resumed: false,
  ...more,
});
const row = (id: number, protocol = 'ICMP'): Row => ({
  id,
  at: id,
  protocol,
  source: 'a',
  destination: 'b',
  info: '',
  length: 1,
  state: 'in-flight',
  sightings: [{ no: id, node: 'host1', link: 'eth0', out: true, at: id, length: 1 }],
});
const lost = { kernel: 0, host: 0, hub: 0, viewer: 0 };
const batch = (seq: number, ...rows: Row[]): ServerMessage => ({ type: 'batch', seq, rows, lost });

let packets: Packets;
let checked: true | { code: string } | null;
const ids = (): number[] => packets.items.flatMap((i) => ('row' in i ? [i.row.id] : []));
/** A connection that breaks, and the next try. */
async function reconnect(): Promise<void> {
  FakeSocket.last.break();
  await vi.runAllTimersAsync();
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('WebSocket', FakeSocket);
  vi.stubGlobal('location', { href: 'http://here/' });
  FakeSocket.all = [];
  checked = true;
  packets = new Packets(
    's1',
    '',
    () => Promise.resolve(checked),
    (draw) => draw(),
  );
});
afterEach(() => {
  packets.close();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test('it connects to the session, and shows what comes', () => {
  expect(FakeSocket.last.url).toBe('ws://here/api/v1/sessions/s1/packets');
  FakeSocket.last.say(start(), batch(1, row(1), row(2, 'ARP')));
  expect(ids()).toEqual([1, 2]);
  expect(packets.protocols).toEqual(['ICMP', 'ARP']);
  expect(packets.state).toBe('live');
});

describe('after a broken connection', () => {
  test('it goes on from the last batch, with its filter', async () => {
    FakeSocket.last.say(start({ filter: 'icmp' }), batch(7, row(1)));
    await reconnect();
    expect(FakeSocket.last.query).toEqual({ filter: 'icmp', after: '7' });
    FakeSocket.last.say(start({ filter: 'icmp', resumed: true }), batch(8, row(2)));
    expect(ids()).toEqual([1, 2]);
  });

  test('it begins anew where the server cannot go on', async () => {
    FakeSocket.last.say(start(), batch(7, row(50)));
    await reconnect();
    FakeSocket.last.say(start(), batch(1, row(1)));
    expect(ids()).toEqual([1]);
  });

  test('a filter that was asked for meanwhile is asked for again', async () => {
    FakeSocket.last.say(start());
    FakeSocket.last.break();
    packets.ask('arp');
    await vi.runAllTimersAsync();
    FakeSocket.last.say(start());
    expect(FakeSocket.last.sent).toEqual([{ type: 'filter', filter: 'arp' }]);
  });

  test('it stays paused', async () => {
    FakeSocket.last.say(start());
    packets.pause();
    await reconnect();
    FakeSocket.last.say(start({ resumed: true }));
    expect(FakeSocket.last.sent).toEqual([{ type: 'pause' }]);
    packets.resume();
    expect(FakeSocket.last.sent).toContainEqual({ type: 'resume' });
  });

  test('it says why it may not come back, and tries again when it is told to', async () => {
    FakeSocket.last.say(start());
    checked = { code: 'no-such-session' };
    await reconnect();
    expect([packets.state, packets.reason]).toEqual(['over', 'no-such-session']);
    expect(FakeSocket.all).toHaveLength(1);
    packets.connect();
    FakeSocket.last.say(start());
    expect([packets.state, packets.reason]).toEqual(['live', null]);
  });

  test('it tries on while nobody answers', async () => {
    FakeSocket.last.say(start());
    checked = null;
    FakeSocket.last.break();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(FakeSocket.all).toHaveLength(1);
    checked = true;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(FakeSocket.all).toHaveLength(2);
  });
});

test('an expression that is refused leaves the filter as it was, and says where it is wrong', () => {
  FakeSocket.last.say(start({ filter: 'icmp' }));
  packets.ask('hosst 1');
  FakeSocket.last.say({ type: 'filter-error', position: 0, message: 'no such word', suggestion: 'host' });
  expect(packets.filter).toBe('icmp');
  expect(packets.refused).toEqual({
    filter: 'hosst 1',
    position: 0,
    message: 'no such word',
    suggestion: 'host',
  });
  packets.ask('host 1');
  expect(packets.refused).toBeNull();
});

test('an end is an end: nothing connects again by itself', async () => {
  FakeSocket.last.say(start(), { type: 'ended', reason: 'deleted' });
  FakeSocket.last.break();
  await vi.runAllTimersAsync();
  expect([packets.state, packets.reason, FakeSocket.all.length]).toEqual(['over', 'deleted', 1]);
});

test('closing it closes the connection, and what still comes is not heard', () => {
  const socket = FakeSocket.last;
  socket.say(start());
  packets.close();
  socket.say(batch(1, row(1)));
  expect([socket.readyState, ids()]).toEqual([3, []]);
});

test('who listens hears each row with what it was before', () => {
  const heard: [number, string | undefined][] = [];
  const unlisten = packets.listen((r, was) => heard.push([r.id, was?.state]));
  FakeSocket.last.say(start(), batch(1, row(1)), batch(2, { ...row(1), state: 'gone' }));
  unlisten();
  FakeSocket.last.say(batch(3, row(2)));
  expect(heard).toEqual([
    [1, undefined],
    [1, 'in-flight'],
  ]);
});

describe('between two frames', () => {
  let frames: (() => void)[];
  beforeEach(() => {
    frames = [];
    packets.close();
    packets = new Packets(
      's1',
      '',
      () => Promise.resolve(true),
      (draw) => frames.push(draw),
    );
    FakeSocket.last.say(start(), batch(1, row(1)), batch(2, row(2), { ...row(1), state: 'gone' }));
  });
  const draw = (): void => frames.splice(0).forEach((f) => f());

  test('batches wait, and are shown at once', () => {
    expect([ids(), frames.length]).toEqual([[], 1]);
    draw();
    expect(ids()).toEqual([1, 2]);
    expect(packets.row(1)?.state).toBe('gone');
  });
  test('what is cleared meanwhile does not come', () => {
    packets.clear();
    draw();
    expect(ids()).toEqual([]);
  });
  test('what was of another capture does not come', () => {
    FakeSocket.last.say(start(), batch(1, row(7)));
    draw();
    expect(ids()).toEqual([7]);
  });
  describe('in a flood', () => {
    const flood = (seq: number, first: number): void =>
      FakeSocket.last.say(batch(seq, ...Array.from({ length: 9 }, (_, i) => row(first + i))));
    beforeEach(draw);

    test('the list changes less often, and shows all when it is over', async () => {
      flood(3, 3);
      draw();
      flood(4, 12);
      draw();
      expect(packets.arrived).toBe(2);
      await vi.advanceTimersByTimeAsync(200);
      expect(packets.arrived).toBe(20);
    });
    test('what moves hears of each row with the next frame', () => {
      const heard: number[] = [];
      packets.listen((r) => heard.push(r.id));
      flood(3, 3);
      draw();
      expect(heard).toHaveLength(9);
    });
    test('who scrolls or chooses sees all that came', () => {
      flood(3, 3);
      draw();
      packets.reveal();
      expect(packets.arrived).toBe(11);
    });
    test('few rows are shown at once', () => {
      FakeSocket.last.say(batch(3, row(3)));
      draw();
      expect(packets.arrived).toBe(3);
    });
  });
  test('of a page that nobody sees not more than so many wait', () => {
    FakeSocket.last.say(batch(3, ...Array.from({ length: 6000 }, (_, i) => row(i + 3))));
    expect(ids()).toHaveLength(6002);
  });
});

test('clearing empties the list, and what was cleared does not come back', () => {
  FakeSocket.last.say(start(), batch(1, row(1), row(2)));
  packets.clear();
  FakeSocket.last.say(batch(2, { ...row(2), state: 'answered' }, row(3)));
  expect(ids()).toEqual([3]);
});

test('unfolded rows are known by where they are in the view', () => {
  FakeSocket.last.say(start(), batch(1, row(1), row(2, 'ARP'), row(3), row(4, 'ARP')));
  packets.fold(4, true);
  packets.fold(1, true);
  expect(packets.unfoldedItems().map((u) => u.index)).toEqual([0, 3]);
  packets.only('ARP', true);
  expect(packets.unfoldedItems().map((u) => u.index)).toEqual([1]);
});
