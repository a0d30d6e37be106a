import type { StreamMessage, StreamRequest } from './wire';

export type Connection = 'connecting' | 'live' | 'reconnecting' | 'gone';

export interface StreamEvents {
  /** Called for every change of the connection. */
  state(connection: Connection): void;
  message(m: StreamMessage): void;
}

export interface Timing {
  first: number;
  longest: number;
}

/**
 * A websocket that comes back. It waits longer after each failure, and asks
 * `alive` before each new try, because a refused handshake tells a page
 * nothing about its reason.
 */
export class Stream {
  #socket: WebSocket | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #closed = false;
  #away = false;

  constructor(
    private readonly url: string,
    private readonly events: StreamEvents,
    private readonly alive: () => Promise<boolean>,
    private readonly timing: Timing = { first: 300, longest: 8000 },
  ) {
    globalThis.addEventListener?.('online', this.#online);
    this.events.state('connecting');
    this.#open();
  }

  /** Begins again at once, which brings a new snapshot. */
  resync(): void {
    if (this.#closed) return;
    this.#drop();
    this.events.state('reconnecting');
    this.#open();
  }

  /** Tells whether the reader is there: a world where nobody is does not live for ever. */
  present(here: boolean): void {
    if (this.#away === !here) return;
    this.#away = !here;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#tell(this.#socket);
  }

  #tell(socket: WebSocket): void {
    const said: StreamRequest = { type: this.#away ? 'away' : 'here' };
    socket.send(JSON.stringify(said));
  }

  close(): void {
    this.#closed = true;
    globalThis.removeEventListener?.('online', this.#online);
    this.#drop();
  }

  readonly #online = (): void => {
    if (this.#timer !== undefined) this.resync();
  };

  #drop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const old = this.#socket;
    this.#socket = null;
    old?.close();
  }

  #open(): void {
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    const current = (): boolean => this.#socket === socket;
    socket.onopen = () => {
      if (current() && this.#away) this.#tell(socket);
    };
    socket.onmessage = (e: MessageEvent<unknown>) => {
      const m = current() ? parse(e.data) : null;
      if (!m) return;
      this.#failures = 0;
      this.events.state('live');
      if (m.type === 'ended') this.close();
      this.events.message(m);
    };
    socket.onclose = () => {
      if (!current() || this.#closed) return;
      this.#socket = null;
      this.events.state('reconnecting');
      this.#timer = setTimeout(() => void this.#retry(), this.#wait());
    };
  }

  async #retry(): Promise<void> {
    this.#timer = undefined;
    const alive = await this.alive();
    if (this.#closed || this.#socket) return;
    if (alive) return this.#open();
    this.close();
    this.events.state('gone');
  }

  /** Grows twofold, with a spread so that a classroom does not come back in one moment. */
  #wait(): number {
    const longest = Math.min(this.timing.longest, this.timing.first * 2 ** this.#failures++);
    return longest * (0.5 + Math.random() / 2);
  }
}

function parse(data: unknown): StreamMessage | null {
  if (typeof data !== 'string') return null;
  try {
    const m: unknown = JSON.parse(data);
    return typeof m === 'object' && m !== null && 'type' in m ? (m as StreamMessage) : null;
  } catch {
    return null;
  }
}
