// The demo as a toy: a bridge is built, pings run over it, a plug is pulled and put back.
import type { WebSocket } from 'ws';
import type { Row, ServerMessage } from '../src/packets/protocol';
import { splitLink } from '../src/snapshot';
import type { Lab, Session, Snapshot, StreamMessage } from '../src/wire';
import { bridge, machines, setup, wires } from './models';
import { ToyWorld } from './world';

interface Act {
  id: string;
  title: string;
  text: string;
  does: [string, string][];
  pings?: 'answered' | 'lost';
  takes: number; // ms
}

const half = (from: number, to?: number): [string, string][] => [
  ...bridge('host1', 0).slice(from, to),
  ...bridge('host2', 1).slice(from, to),
];

const acts: Act[] = [
  {
    id: 'containers',
    title: 'Four containers',
    text: '<p>Each is a namespace: a room of its own with nothing in it.</p>',
    does: half(0, 2),
    takes: 600,
  },
  {
    id: 'cables',
    title: 'A cable for each',
    text: '<p>One end goes into the container, the other stays on the host.</p>',
    does: half(2, 12),
    takes: 600,
  },
  {
    id: 'bridges',
    title: 'A bridge on each host',
    text: '<p>A bridge is a switch made of software. Both cables are plugged into it.</p>',
    does: half(12),
    takes: 600,
  },
  {
    id: 'talk',
    title: 'They talk',
    text: '<p>Each host learns a route to the other’s containers. The first ping crosses both hosts and comes back.</p>',
    does: [
      ['host1', 'ip route add 172.16.1.0/24 via 10.0.0.20'],
      ['host2', 'ip route add 172.16.0.0/24 via 10.0.0.10'],
    ],
    pings: 'answered',
    takes: 9000,
  },
  {
    id: 'pulled',
    title: 'A cable is pulled',
    text: '<p>One end of the cable is down: the pings die at the bridge.</p>',
    does: [['host2', 'ip link set veth10 down']],
    pings: 'lost',
    takes: 6000,
  },
  {
    id: 'plugged',
    title: 'The cable is back',
    text: '<p>The end is up again, and so are the pings.</p>',
    does: [['host2', 'ip link set veth10 up']],
    pings: 'answered',
    takes: 9000,
  },
];

const there = [
  'host1/kon1:veth11',
  'host1:veth10',
  'host1:eth0',
  'sw:port1',
  'sw:port2',
  'host2:eth0',
  'host2:veth10',
  'host2/kon1:veth11',
];
const fresh = (): ToyWorld => {
  const world = new ToyWorld(
    machines.filter(([name]) => name !== 'r1'),
    wires.filter(([end]) => !end.startsWith('r1')),
  );
  for (const [machine, command] of setup) if (machine !== 'r1') world.run(machine, command);
  return world;
};

export class ToyDemo {
  readonly #viewers = new Set<WebSocket>();
  readonly #watchers = new Set<WebSocket>();
  #world = fresh();
  #done = 0;
  #began = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #seq = 0;
  #sightings = 0;
  #rows = 0;

  lab(): Lab {
    const steps = acts.map(({ id, title, text }) => ({ id, title, text, commands: [] }));
    return {
      id: 'demo',
      title: 'A living network',
      summary: '',
      track: '',
      minutes: 0,
      language: 'en',
      variants: [],
      steps,
    };
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
    return {
      id: 'demo',
      lab: 'demo',
      variant: '',
      language: 'en',
      state: 'ready',
      steps,
      nodes: [],
      ...(current && { current }),
    };
  }

  #tell(m: StreamMessage): void {
    for (const v of this.#viewers) v.send(JSON.stringify(m));
  }

  #act(): void {
    const act = acts[this.#done];
    const revision = this.#world.revision;
    if (act) for (const [machine, line] of act.does) this.#world.run(machine, line);
    else this.#world = fresh();
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
    const asked = this.#row(['172.16.0.2', '172.16.1.2'], pings === 'lost' ? there.slice(0, 6) : there);
    if (pings === 'answered') {
      const back = this.#row(['172.16.1.2', '172.16.0.2'], there.toReversed());
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
