// Toy shells that speak the protocol of a terminal's websocket: enough to see
// the page's terminals without a kernel.
import type { WebSocket } from 'ws';
import type { ClientMessage, Listed, ServerMessage } from '../src/terminal/protocol';
import type { NodeId } from '../src/wire';

/** Does a line on a node, and gives what it shows; undefined if it is no command of the toy world. */
export type Do = (node: NodeId, line: string) => string;

const kept = 64 << 10;
const green = '\x1b[1;32m';
const blue = '\x1b[1;34m';
const plain = '\x1b[m';

class Shell {
  readonly viewers = new Set<(bytes: Buffer) => void>();
  shown = Buffer.alloc(0);
  size = { rows: 24, cols: 80 };
  #line = '';
  #flood: NodeJS.Timeout | undefined;

  constructor(
    readonly id: string,
    readonly node: NodeId,
    private readonly act: Do,
    readonly exit: (code: number) => void,
  ) {
    this.#prompt();
  }

  show(text: string): void {
    const bytes = Buffer.from(text);
    this.shown = Buffer.concat([this.shown, bytes]).subarray(-kept);
    for (const v of this.viewers) v(bytes);
  }

  type(bytes: Buffer): void {
    const typed = bytes.toString().replace(/\x1b\[20[01]~/g, ''); // eslint-disable-line no-control-regex -- bracketed paste is marked by ESC
    for (const c of typed) {
      if (c === '\x03') this.#interrupt();
      else if (this.#flood) continue;
      else if (c === '\r') this.#run();
      else if (c === '\x04' && this.#line === '') return this.#leave();
      else if (c === '\x7f') this.#rub();
      else if (c >= ' ') {
        this.#line += c;
        this.show(c);
      }
    }
  }

  stop(): void {
    clearInterval(this.#flood);
  }

  #prompt(): void {
    this.show(`\x1b[?2004h${green}root@${this.node}${plain}:${blue}~${plain}# `);
  }

  #rub(): void {
    if (this.#line === '') return;
    this.#line = [...this.#line].slice(0, -1).join('');
    this.show('\b \b');
  }

  #interrupt(): void {
    this.stop();
    this.#flood = undefined;
    this.#line = '';
    this.show('^C\r\n');
    this.#prompt();
  }

  #leave(): void {
    this.show('\r\nexit\r\n');
    this.exit(0);
  }

  #run(): void {
    const line = this.#line.trim();
    this.#line = '';
    this.show('\r\n');
    if (line === 'exit') return this.exit(0);
    if (line === 'yes') {
      this.#flood = setInterval(() => this.show('y\r\n'.repeat(20_000)), 5);
      return;
    }
    const told = line === 'colours' ? colours() : line && this.act(this.node, line);
    if (told) this.show(told.replaceAll('\n', '\r\n') + '\r\n');
    this.#prompt();
  }
}

function colours(): string {
  const rows = [30, 90].map((first) =>
    Array.from({ length: 8 }, (_, i) => `\x1b[${first + i}m colour ${first + i}${plain}`).join(''),
  );
  return [...rows, '\x1b[38;2;255;120;0mtrue colour\x1b[m \x1b[3mitalic\x1b[m \x1b[7mreverse\x1b[m'].join(
    '\n',
  );
}

/** The terminals of one session. */
export class ToyTerminals {
  readonly #shells = new Map<string, Shell>();
  readonly #sockets = new Map<string, Set<WebSocket>>();
  #count = 0;

  constructor(private readonly act: Do) {}

  list(): Listed[] {
    return [...this.#shells.values()].map(({ id, node }) => ({ id, node }));
  }

  close(id: string): void {
    this.#end(id, { type: 'ended', reason: 'closed' });
  }

  reset(): void {
    for (const id of this.#shells.keys()) this.#end(id, { type: 'ended', reason: 'reset' });
  }

  attach(socket: WebSocket, node: NodeId, query: URLSearchParams): void {
    const shell = this.#shells.get(query.get('terminal') ?? '') ?? this.#start(node);
    const say = (m: ServerMessage): void => socket.send(JSON.stringify(m));
    const window = Number(query.get('window') ?? Infinity);
    let under = 0;
    let missed = false;
    const replay = (): void => {
      missed = false;
      say({ type: 'terminal', id: shell.id, node: shell.node, ...shell.size, replay: shell.shown.length });
      send(shell.shown);
    };
    const send = (bytes: Buffer): void => {
      missed ||= under + bytes.length > window;
      if (missed) return;
      under += bytes.length;
      if (bytes.length) socket.send(bytes);
    };
    const set = this.#sockets.get(shell.id) ?? new Set();
    this.#sockets.set(shell.id, set.add(socket));
    replay();
    shell.viewers.add(send);
    socket.on('message', (data, binary) => {
      if (binary) return shell.type(data as Buffer);
      const m = JSON.parse((data as Buffer).toString()) as ClientMessage;
      if (m.type === 'size') shell.size = { rows: m.rows, cols: m.cols };
      else under -= m.bytes;
      if (missed && under + shell.shown.length <= window) replay();
    });
    socket.on('close', () => {
      shell.viewers.delete(send);
      set.delete(socket);
    });
  }

  #start(node: NodeId): Shell {
    const id = `t${++this.#count}`;
    const shell = new Shell(id, node, this.act, (code) => this.#end(id, { type: 'exit', code }));
    this.#shells.set(id, shell);
    return shell;
  }

  #end(id: string, m: ServerMessage): void {
    this.#shells.get(id)?.stop();
    this.#shells.delete(id);
    for (const s of this.#sockets.get(id) ?? []) {
      s.send(JSON.stringify(m));
      s.close(1000);
    }
    this.#sockets.delete(id);
  }
}
