// The demo as a toy: a bridge is built, pings run over it, a plug is pulled and put back.
import type { WebSocket } from 'ws';
import type { Row, ServerMessage } from '../src/packets/protocol';
import { splitLink } from '../src/snapshot';
import type { Lab, Session, Snapshot, StreamMessage } from '../src/wire';
import { ToyWorld } from './world';

interface Act {
  id: string;
  title: string;
  does: string[];
  pings?: 'answered' | 'lost';
  takes: number; // ms
}

const plug = (name: string, ip: number): string[] => [
  `ip link add veth-${name} type veth peer name eth0-${name}`,
  `ip link set eth0-${name} netns ${name}`,
  `ip -n ${name} addr add 172.16.0.${String(ip)}/24 dev eth0-${name}`,
  `ip -n ${name} link set eth0-${name} up`,
  `ip link set veth-${name} up`,
];

const acts: Act[] = [
  { id: 'red', title: 'A container is born: red', does: ['ip netns add red'], takes: 500 },
  { id: 'blue', title: 'Another one: blue', does: ['ip netns add blue'], takes: 700 },
  {
    id: 'cables',
    title: 'Each gets a cable to the machine',
    does: [...plug('red', 2), ...plug('blue', 3)],
    takes: 1200,
  },
  {
    id: 'bridge',
    title: 'A bridge joins the cables, as a switch does',
    does: [
      'ip link add br0 type bridge',
      'ip link set br0 up',
      'ip link set veth-red master br0',
      'ip link set veth-blue master br0',
    ],
    takes: 1200,
  },
  { id: 'ping', title: 'red pings blue, and blue answers', does: [], pings: 'answered', takes: 9000 },
  {
    id: 'pull',
    title: 'Somebody pulled the plug: the pings die',
    does: ['ip link set veth-blue down'],
    pings: 'lost',
    takes: 6000,
  },
  {
    id: 'repair',
    title: 'The plug is back, and so are the answers',
    does: ['ip link set veth-blue up'],
    pings: 'answered',
    takes: 9000,
  },
];

const machines: ConstructorParameters<typeof ToyWorld>[0] = [
  ['host1', 'host'],
  ['r1', 'router'],
];
const there = ['host1/red:eth0-red', 'host1:veth-red', 'host1:veth-blue', 'host1/blue:eth0-blue'];

export class ToyDemo {
  readonly #viewers = new Set<WebSocket>();
  readonly #watchers = new Set<WebSocket>();
  #world = new ToyWorld(machines, [['host1:eth0', 'r1:eth0']]);
  #done = 0;
  #began = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #seq = 0;
  #sightings = 0;
  #rows = 0;

  lab(): Lab {
    const steps = acts.map(({ id, title }) => ({ id, title, commands: [] }));
    return { id: 'demo', title: 'A living network', summary: '', track: '', minutes: 0, variants: [], steps };
  }

  attach(viewer: WebSocket, packets: boolean): void {
    const all = packets ? this.#watchers : this.#viewers;
    all.add(viewer);
    viewer.on('close', () => {
      all.delete(viewer);
      if (this.#viewers.size + this.#watchers.size > 0) return;
      clearTimeout(this.#timer);
      this.#timer = undefined;
    });
    if (packets) {
      const start: ServerMessage = { type: 'start', started: '', filter: '', snap: 256, resumed: false };
      viewer.send(JSON.stringify(start));
    } else {
      const first: StreamMessage[] = [
        { type: 'session', session: this.#session() },
        { type: 'snapshot', snapshot: this.#world.snapshot() },
      ];
      for (const m of first) viewer.send(JSON.stringify(m));
    }
    this.#timer ??= setTimeout(() => this.#act(), 300);
  }

  #session(): Session {
    const steps = acts.map(({ id }, i) => ({ id, state: i < this.#done ? 'done' : 'todo' }) as const);
    const current = acts[this.#done]?.id;
    return { id: 'demo', lab: 'demo', state: 'ready', steps, nodes: [], ...(current && { current }) };
  }

  #tell(m: StreamMessage): void {
    for (const v of this.#viewers) v.send(JSON.stringify(m));
  }

  #act(): void {
    const act = acts[this.#done];
    const revision = this.#world.revision;
    if (act) for (const line of act.does) this.#world.run('host1', line);
    else this.#world = new ToyWorld(machines, [['host1:eth0', 'r1:eth0']]);
    this.#done = act ? this.#done + 1 : 0;
    this.#world.revision = revision + 1;
    const snapshot: Snapshot = this.#world.snapshot();
    this.#tell({ type: 'snapshot', snapshot });
    this.#tell({ type: 'session', session: this.#session() });
    this.#began = Date.now();
    this.#go(act?.pings, act?.takes ?? 1500);
  }

  #go(pings: Act['pings'], takes: number): void {
    if (Date.now() - this.#began >= takes) return this.#act();
    if (pings) this.#ping(pings);
    this.#timer = setTimeout(() => this.#go(pings, takes), pings ? 1000 : takes);
  }

  #ping(pings: 'answered' | 'lost'): void {
    const asked = this.#row(['172.16.0.2', '172.16.0.3'], pings === 'lost' ? there.slice(0, 2) : there);
    if (pings === 'answered') {
      const back = this.#row(['172.16.0.3', '172.16.0.2'], there.toReversed());
      this.#send([asked, { ...back, answers: asked.id }]);
      return;
    }
    this.#send([asked]);
    setTimeout(() => this.#send([{ ...asked, state: 'gone' }]), 700);
  }

  #row([source, destination]: [string, string], places: string[]): Row {
    const id = this.#rows++;
    const at = id * 1e6;
    const sightings = places.map((place, i) => {
      const { node, name } = splitLink(place);
      const no = this.#sightings++;
      const seen = { no, node, link: name, out: i % 2 === 0, at: at + i * 10, length: 98 };
      return i > 0 ? { ...seen, after: no - 1 } : seen;
    });
    const said = { protocol: 'ICMP', source, destination, info: 'Echo', length: 98 };
    return { id, at, ...said, state: 'in-flight', sightings };
  }

  #send(rows: Row[]): void {
    const lost = { kernel: 0, host: 0, hub: 0, viewer: 0 };
    const batch: ServerMessage = { type: 'batch', seq: this.#seq++, rows, lost };
    for (const w of this.#watchers) w.send(JSON.stringify(batch));
  }
}
