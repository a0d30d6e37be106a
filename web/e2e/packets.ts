// A server of packets for the browser tests: it speaks the packets' websocket
// and answers for single packets, while all else is the real server.
import type { Page, WebSocketRoute } from 'playwright-core';
import { pingHex, pingLayers } from '../mock/ping';
import type { ClientMessage, Packet, Row, ServerMessage, Sighting } from '../src/packets/protocol';

/** The way of a packet from one namespace of a host through its bridge to another. */
export const way: [node: string, link: string, out: boolean][] = [
  ['host1/kon1', 'veth11', true],
  ['host1', 'veth10', false],
  ['host1', 'veth20', true],
  ['host1/kon2', 'veth21', false],
];

export interface Fake {
  /** The filters and numbers with which the page connected. */
  readonly asked: { filter: string; after: string | null }[];
  readonly heard: ClientMessage[];
  say(m: ServerMessage): void;
  batch(rows: Row[], more?: Partial<Extract<ServerMessage, { type: 'batch' }>>): void;
  /** A packet that goes this way, seen at each place. */
  row(more?: Partial<Row>, places?: typeof way): Row;
  break(): Promise<void>;
  /** Whether the page has closed its last connection. */
  readonly closed: boolean;
  /** Numbers of sightings that are not kept any more. */
  readonly dropped: Set<number>;
}

const noLoss = { kernel: 0, host: 0, hub: 0, viewer: 0 };

export const pingBytes = Buffer.from(pingHex, 'hex');
export { pingLayers };

/** Stands in for the packets of every session that the page opens. */
export async function fakePackets(page: Page): Promise<Fake> {
  let socket: WebSocketRoute | null = null;
  let [no, id, seq] = [0, 0, 0];
  let closed = false;
  const fake: Fake = {
    get closed() {
      return closed;
    },
    asked: [],
    heard: [],
    dropped: new Set(),
    say: (m) => socket?.send(JSON.stringify(m)),
    batch: (rows, more) => fake.say({ type: 'batch', seq: ++seq, rows, lost: noLoss, ...more }),
    row(more, places = way) {
      const at = ++id * 1000;
      const sightings = places.map(([node, link, out], i): Sighting => ({
        no: ++no,
        node,
        link,
        out,
        at: at + i * 7,
        length: 98,
      }));
      return {
        id,
        at,
        protocol: 'ICMP',
        source: '172.16.0.2',
        destination: '172.16.0.3',
        info: `echo request id=1 seq=${String(id)}`,
        length: 98,
        state: 'answered',
        sightings,
        ...more,
      };
    },
    async break() {
      await socket?.close({ code: 1011 });
    },
  };
  await page.routeWebSocket(/\/packets(\?|$)/, (ws) => {
    socket = ws;
    closed = false;
    ws.onClose(() => (closed = true));
    const { searchParams } = new URL(ws.url());
    const [filter, after] = [searchParams.get('filter') ?? '', searchParams.get('after')];
    fake.asked.push({ filter, after });
    ws.onMessage((m) => fake.heard.push(JSON.parse(String(m)) as ClientMessage));
    fake.say({ type: 'start', started: '2026-01-01T00:00:00Z', filter, snap: 256, resumed: after !== null });
  });
  // What the page asks before it connects again.
  await page.route(/\/packets(\?|$)/, (route) => route.fulfill({ status: 426, body: '' }));
  await page.route(/\/packets\/\d+$/, (route) => {
    const asked = Number(new URL(route.request().url()).pathname.split('/').at(-1));
    if (fake.dropped.has(asked))
      return route.fulfill({ status: 404, json: { code: 'no-such-packet', title: 'Not kept' } });
    const packet: Packet = {
      no: asked,
      node: 'host1/kon1',
      link: 'veth11',
      out: true,
      at: 1000,
      length: 98,
      data: pingBytes.toString('base64'),
      layers: pingLayers,
    };
    return route.fulfill({ json: packet });
  });
  return fake;
}
