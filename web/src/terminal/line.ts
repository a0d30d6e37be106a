import type { Timing } from '../socket';
import { ahead, parse, type ClientMessage, type ServerMessage, type Size } from './protocol';

export type LineState = 'connecting' | 'live' | 'reconnecting' | 'over';

/** How a terminal ended: its shell with a code, or something took it away or did not let it begin. */
export type End = { code: number } | { reason: string; detail?: string };

/** Where the bytes go; `drawn` is called when they are on the screen, in their order. */
export interface Paper {
  write(bytes: Uint8Array, drawn: () => void): void;
}

export interface LineEvents {
  state(state: LineState): void;
  attached(id: string): void;
  /** Something that the shell shows is on the screen. */
  shown(): void;
  size(size: Size): void;
  end(end: End): void;
}

export interface Place {
  /** Where to connect to: a terminal that runs, or a new one. */
  url(id: string | undefined): string;
  /** Whether to connect again, asked before each new try; null: nobody knows yet. */
  check(id: string | undefined): Promise<true | End | null>;
}

// "Reset to initial state", the terminal's own word for an empty screen. It goes
// the way of the bytes, so that it comes after those that wait to be drawn.
const empty = Uint8Array.of(0x1b, 0x63);
const ackEvery = ahead / 8;
/** Larger messages may be refused. */
const mostTyped = 16 << 10;

/**
 * A terminal's websocket. It comes back to the same shell, tells the server what
 * was drawn, which holds back a program that shows more than a screen can, and
 * keeps to itself what the screen answers to old output.
 */
export class Line {
  #socket: WebSocket | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #id: string | undefined;
  #over = false;
  #replay = 0; // bytes to come that were shown before
  #replays = 0; // replays of this line so far
  #replaying = false;
  #drawn = 0; // and not acknowledged
  readonly #encoder = new TextEncoder();

  constructor(
    id: string | undefined,
    private readonly place: Place,
    private readonly paper: Paper,
    private readonly events: LineEvents,
    private readonly timing: Timing = { first: 300, longest: 8000 },
  ) {
    this.#id = id;
    globalThis.addEventListener?.('online', this.#online);
    events.state('connecting');
    this.#open();
  }

  /** Sends what is typed, and what the screen answers to a program. */
  type(data: string): void {
    // An answer to a question of old: nobody waits for it.
    if (this.#replaying && data.startsWith('\x1b')) return;
    this.send(this.#encoder.encode(data));
  }

  send(bytes: Uint8Array): void {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) return;
    for (let i = 0; i < bytes.length; i += mostTyped) socket.send(bytes.slice(i, i + mostTyped));
  }

  resize(size: Size): void {
    this.#say(this.#socket, { type: 'size', ...size });
  }

  /** Leaves the shell as it is. */
  close(): void {
    this.#over = true;
    globalThis.removeEventListener?.('online', this.#online);
    clearTimeout(this.#timer);
    const old = this.#socket;
    this.#socket = null;
    old?.close(1000);
  }

  readonly #online = (): void => {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    void this.#retry();
  };

  #open(): void {
    const socket = new WebSocket(this.place.url(this.#id));
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#drawn = this.#replay = 0;
    socket.onmessage = (e: MessageEvent<unknown>) => {
      if (this.#socket !== socket) return;
      if (e.data instanceof ArrayBuffer) this.#show(socket, new Uint8Array(e.data));
      else if (typeof e.data === 'string') this.#hear(parse(e.data));
    };
    socket.onclose = () => {
      if (this.#socket !== socket || this.#over) return;
      this.#socket = null;
      this.events.state('reconnecting');
      this.#again();
    };
  }

  #hear(m: ServerMessage | null): void {
    switch (m?.type) {
      case 'terminal':
        this.#failures = 0;
        this.#id = m.id;
        this.#replay = m.replay ?? 0;
        this.#replays++;
        this.#replaying = this.#replay > 0;
        this.paper.write(empty, () => undefined);
        this.events.attached(m.id);
        this.events.state('live');
        return;
      case 'size':
        return this.events.size({ rows: m.rows, cols: m.cols });
      case 'exit':
        return this.#finish({ code: m.code });
      case 'ended':
        return this.#finish({ reason: m.reason ?? 'lost' });
    }
  }

  #show(socket: WebSocket, bytes: Uint8Array): void {
    const old = Math.min(this.#replay, bytes.length);
    this.#replay -= old;
    const replays = this.#replays;
    if (old > 0) {
      const last = this.#replay === 0;
      this.#draw(socket, bytes.subarray(0, old), () => {
        if (last && replays === this.#replays) this.#replaying = false;
      });
    }
    if (old < bytes.length) this.#draw(socket, bytes.subarray(old));
  }

  #draw(socket: WebSocket, bytes: Uint8Array, then?: () => void): void {
    this.paper.write(bytes, () => {
      then?.();
      this.events.shown();
      if (socket !== this.#socket) return;
      this.#drawn += bytes.length;
      if (this.#drawn < ackEvery) return;
      this.#say(socket, { type: 'ack', bytes: this.#drawn });
      this.#drawn = 0;
    });
  }

  #say(socket: WebSocket | null, m: ClientMessage): void {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(m));
  }

  #finish(end: End): void {
    this.close();
    this.events.state('over');
    this.events.end(end);
  }

  /** Waits longer each time, with a spread so that a classroom does not come back in one moment. */
  #again(): void {
    const longest = Math.min(this.timing.longest, this.timing.first * 2 ** this.#failures++);
    this.#timer = setTimeout(() => void this.#retry(), longest * (0.5 + Math.random() / 2));
  }

  async #retry(): Promise<void> {
    this.#timer = undefined;
    const answer = await this.place.check(this.#id);
    if (this.#over || this.#socket || this.#timer !== undefined) return;
    if (answer === null) this.#again();
    else if (answer === true) this.#open();
    else this.#finish(answer);
  }
}
