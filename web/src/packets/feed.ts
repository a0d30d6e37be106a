import type { Timing } from '../socket';
import { parse, type ClientMessage, type ServerMessage } from './protocol';

export type FeedState = 'connecting' | 'live' | 'reconnecting' | 'over';

export interface FeedEvents {
  state(state: FeedState): void;
  message(m: ServerMessage): void;
  /** Connecting again is of no use. */
  refused(code: string, detail?: string): void;
}

export interface FeedPlace {
  /** Asked at each new try, because it says from where to go on. */
  url(): string;
  /** Whether to connect again; a code says why not, null that nobody knows yet. */
  check(): Promise<true | { code: string; detail?: string } | null>;
}

/** The packets' websocket. It comes back, and waits longer after each failure. */
export class Feed {
  #socket: WebSocket | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #over = false;

  constructor(
    private readonly place: FeedPlace,
    private readonly events: FeedEvents,
    private readonly timing: Timing = { first: 300, longest: 8000 },
  ) {
    globalThis.addEventListener?.('online', this.#online);
    events.state('connecting');
    this.#open();
  }

  /** False where there is no connection to say it on. */
  say(m: ClientMessage): boolean {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(m));
    return true;
  }

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
    const socket = new WebSocket(this.place.url());
    this.#socket = socket;
    socket.onmessage = (e: MessageEvent<unknown>) => {
      const m = this.#socket === socket ? parse(e.data) : null;
      if (!m) return;
      this.#failures = 0;
      if (m.type === 'ended') {
        this.close();
        this.events.state('over');
      } else this.events.state('live');
      this.events.message(m);
    };
    socket.onclose = () => {
      if (this.#socket !== socket || this.#over) return;
      this.#socket = null;
      this.events.state('reconnecting');
      this.#again();
    };
  }

  /** Grows twofold, with a spread so that a classroom does not come back in one moment. */
  #again(): void {
    const longest = Math.min(this.timing.longest, this.timing.first * 2 ** this.#failures++);
    this.#timer = setTimeout(() => void this.#retry(), longest * (0.5 + Math.random() / 2));
  }

  async #retry(): Promise<void> {
    this.#timer = undefined;
    const answer = await this.place.check();
    if (this.#over || this.#socket || this.#timer !== undefined) return;
    if (answer === null) return this.#again();
    if (answer === true) return this.#open();
    this.close();
    this.events.state('over');
    this.events.refused(answer.code, answer.detail);
  }
}
