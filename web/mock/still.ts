// The world outside of the gallery: a clock that stands, dice that fall alike,
// and a server that says the same each time. Which of them answers is in the
// session's name.
import { RequestError, type Api } from '../src/api';
import { Store, type OpenLine } from '../src/store.svelte';
import type { Packet, Row, ServerMessage } from '../src/packets/protocol';
import type { Catalogue, Lab, LabSummary, Problem, Progress, Session, Snapshot, Term } from '../src/wire';
import { pingHex, pingLayers } from './ping';
import * as samples from './samples';

const now = Date.UTC(2026, 2, 2, 9, 30);

class StillDate extends Date {
  constructor(at: number | string | Date = now) {
    super(at);
  }
  static override now(): number {
    return now;
  }
}

/** How the server behaves for the sessions of this name. */
interface Manner {
  packets?: ServerMessage[];
  /** Nobody answers, or the answer is no. */
  refuses?: Problem | 'silence' | 'cut';
  /** Packets that come every second, without end. */
  flood?: number;
  /** What the shell has shown. */
  shown?: string;
  exit?: number;
}

const start: ServerMessage = {
  type: 'start',
  started: '2026-03-02T09:29:00Z',
  filter: '',
  snap: 256,
  resumed: false,
};
const batch = (rows: Row[], lost = { kernel: 0, host: 0, hub: 0, viewer: 0 }): ServerMessage => ({
  type: 'batch',
  seq: 1,
  rows,
  lost,
});

const manners: Record<string, Manner> = {
  lab: { packets: [start, batch(samples.rows)], shown: samples.shell },
  flood: { packets: [start], flood: 4000 },
  quiet: { packets: [start], shown: samples.prompt },
  lossy: {
    packets: [start, batch(samples.rows, { kernel: 12, host: 3, hub: 40, viewer: 7 })],
    shown: samples.flood,
  },
  filtered: { packets: [{ ...start, filter: 'host 9.9.9.9' }] },
  refused: {
    packets: [
      start,
      batch(samples.rows),
      { type: 'filter-error', position: 0, message: 'unknown word "imcp"', suggestion: 'icmp' },
    ],
  },
  paused: { packets: [start, batch(samples.rows), { type: 'paused' }] },
  over: {
    packets: [start, batch(samples.rows), { type: 'ended', reason: 'closed' }],
    exit: 0,
    shown: samples.bye,
  },
  failed: { exit: 127, shown: samples.bye },
  silent: { refuses: 'silence' },
  cut: { refuses: 'cut' },
  full: { refuses: { code: 'too-many-terminals', title: 'Too many terminals', status: 429 } },
};

/** Which manner is asked for, by the path of a session's own address. */
function mannerOf(path: string): Manner {
  const [, name = ''] = /\/sessions\/([^/]+)\//.exec(path) ?? [];
  return manners[name] ?? {};
}

class StillSocket extends EventTarget {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSING = 2;
  static readonly CLOSED = 3;
  readyState = 0;
  binaryType = 'blob';
  onopen: (() => void) | null = null;
  onmessage: ((e: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  readonly #url: URL;
  #worker: Worker | null = null;

  constructor(url: string | URL) {
    super();
    this.#url = new URL(url);
    setTimeout(() => this.#answer());
  }

  send(): void {
    // Nothing that is said changes what it says.
  }

  close(): void {
    this.readyState = StillSocket.CLOSED;
    this.#worker?.terminate();
  }

  #say(data: unknown): void {
    this.onmessage?.({ data });
  }

  #flood(rate: number): void {
    this.#worker = new Worker(new URL('./flood.ts', import.meta.url), { type: 'module' });
    this.#worker.onmessage = (e: MessageEvent<string>) => this.#say(e.data);
    this.#worker.postMessage(rate);
  }

  #answer(): void {
    const { packets = [], refuses, flood, shown = '', exit } = mannerOf(this.#url.pathname);
    const terminal = /\/terminals\/([^/]+)$/.exec(this.#url.pathname)?.[1];
    if (this.readyState === StillSocket.CLOSED || refuses === 'silence') return;
    if (refuses) {
      this.readyState = StillSocket.CLOSED;
      this.onclose?.();
      return;
    }
    this.readyState = StillSocket.OPEN;
    this.onopen?.();
    if (terminal === undefined) {
      for (const m of packets) this.#say(JSON.stringify(m));
      if (flood) this.#flood(flood);
      return;
    }
    const id = this.#url.searchParams.get('terminal') ?? `t-${terminal}`;
    const said = { type: 'terminal', id, node: decodeURIComponent(terminal), rows: 24, cols: 80 };
    this.#say(JSON.stringify(said));
    this.#say(new TextEncoder().encode(shown.replaceAll('\n', '\r\n')).buffer);
    if (exit !== undefined) this.#say(JSON.stringify({ type: 'exit', code: exit }));
  }
}

function stillFetch(url: string): Response {
  const { refuses } = mannerOf(url);
  if (typeof refuses === 'object') return Response.json(refuses, { status: refuses.status ?? 400 });
  if (refuses) return new Response('', { status: 503 });
  const asked = /\/packets\/(\d+)$/.exec(url)?.[1];
  if (asked !== undefined) {
    if (Number(asked) === samples.forgotten) return new Response('', { status: 404 });
    const data = btoa(String.fromCharCode(...(pingHex.match(/../g) ?? []).map((h) => parseInt(h, 16))));
    const place = { node: 'host1/kon1', link: 'veth11', out: true, at: 1_000_000, length: 98 };
    const packet: Packet = { no: Number(asked), ...place, data, layers: pingLayers };
    return Response.json(packet);
  }
  return Response.json([]);
}

/** Has time stand still, and the server of this page say what it always says. */
export function standStill(): void {
  Object.assign(globalThis, { Date: StillDate, WebSocket: StillSocket, setInterval: () => 0 });
  Object.defineProperty(performance, 'timeOrigin', { value: now });
  Math.random = () => 0;
  globalThis.fetch = (input) =>
    Promise.resolve(stillFetch(input instanceof Request ? input.url : String(input)));
}

export interface Answers {
  labs?: LabSummary[];
  catalogue?: Catalogue;
  progress?: Progress;
  lab?: Lab;
  session?: Session;
  snapshot?: Snapshot;
  glossary?: Term[];
  /** What everything that is asked for comes to. */
  fails?: Problem;
  /** The answer is always on its way. */
  waits?: boolean;
}

/** An API that gives these answers, and none where there is none. */
export function stillApi(a: Answers): Api {
  const tell = <T>(what: T | undefined): Promise<T> => {
    if (a.waits) return new Promise<T>(() => undefined);
    const none: Problem = { code: 'unreachable', title: '' };
    if (a.fails || what === undefined) return Promise.reject(new RequestError(a.fails ?? none));
    return Promise.resolve(what);
  };
  const session = (): Promise<Session> => tell(a.session);
  return {
    labs: () => tell(a.labs),
    catalogue: () => tell(a.catalogue),
    lab: () => tell(a.lab),
    demoLab: () => Promise.resolve(samples.demoLab),
    glossary: () => Promise.resolve(a.glossary ?? []),
    create: session,
    createFree: session,
    progress: () => tell(a.progress),
    forget: () => tell(undefined),
    session,
    speak: session,
    end: () => tell(undefined),
    reset: session,
    apply: async () => ({ ...(await session()), revision: 1, probes: [] }),
    predict: session,
    changes: () => Promise.resolve(samples.changes),
    hint: () => Promise.resolve(null),
    op: async (_, _node, command) => ({ ...(await session()), revision: 1, command }),
    exec: () => tell(samples.exec),
    probe: (_, probe) =>
      tell(samples.outcomes.find((o) => o.probe.kind === probe.kind && o.probe.to === probe.to)),
    streamUrl: () => 'ws://still/',
    demoUrl: (what) => `ws://still/demo/${what}`,
  };
}

/** The stream of a session, or of the demo: it says how all is, and then nothing. */
const stillLine =
  (a: Answers): OpenLine =>
  (url, events) => {
    const isDemo = url.includes('/demo/');
    const [session, snapshot] = isDemo ? [samples.demoSession, samples.plugged] : [a.session, a.snapshot];
    setTimeout(() => {
      if (!session || !snapshot) return;
      events.state('live');
      events.message({ type: 'snapshot', snapshot });
      events.message({ type: 'session', session });
    });
    return { resync: () => undefined, present: () => undefined, close: () => undefined };
  };

type Known = Partial<
  Pick<Store, 'labs' | 'progress' | 'lab' | 'session' | 'snapshot' | 'connection' | 'selected'>
>;

/** A store that knows this already, and has the answers for what is asked. */
export function storeOf(known: Known = {}, answers: Answers = {}, asked?: (store: Store) => unknown): Store {
  const store = new Store(stillApi(answers), stillLine(answers));
  Object.assign(store, { connection: 'live', ...known });
  void asked?.(store);
  return store;
}
