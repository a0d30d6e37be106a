import { machineOf, netnsOf, splitLink } from '../snapshot';
import type { Command, LinkId, NodeId } from '../wire';
import { isNameless, netnsWord, on, routeLine } from './commands';
import type { Change, Fact, Facts, Make } from './facts';

/** The way from one state to another; `impossible` are the statements that no command brings about. */
export interface Way {
  commands: Command[];
  impossible: Fact[];
}

/** What a command does to an interface while the way is walked. */
interface Walked {
  up: boolean;
  mtu: string;
  master: string;
  addresses: Set<string>;
}

/** The statements with all changes taken back. */
export function without(now: Facts, changes: Change[]): Facts {
  const out = new Map(now);
  for (const { fact, was } of changes) {
    if (was === undefined) out.delete(fact);
    else out.set(fact, was);
  }
  return out;
}

/**
 * The commands that lead from what is to what shall be, on one machine. What
 * goes by itself when something else goes is not taken away one by one.
 */
export function wayTo(now: Facts, goal: Facts): Way {
  const way = new Walk(now, goal);
  way.walk();
  return { commands: way.commands, impossible: way.impossible };
}

class Walk {
  readonly commands: Command[] = [];
  readonly impossible: Fact[] = [];
  readonly #links = new Map<LinkId, Walked>();
  /** Routes that stand where the way has come to. */
  readonly #routes = new Set<Fact>();

  constructor(
    private readonly now: Facts,
    private readonly goal: Facts,
  ) {
    for (const [fact] of now) {
      const [what, id = '', ...rest] = fact.split(' ');
      if (what === 'link') this.#links.set(id, walked(now, id));
      if (what === 'address') this.#links.get(id)?.addresses.add(rest.join(' '));
      if (what === 'route') this.#routes.add(fact);
    }
  }

  walk(): void {
    const lost = this.#ids('node', this.now).filter((id) => !this.goal.has(`node ${id}`));
    const fresh = this.#ids('node', this.goal).filter((id) => !this.now.has(`node ${id}`));
    const moves = this.#moves(fresh);
    this.#unroute(lost);
    for (const id of this.#ids('link', this.now))
      if (!moves.has(id) && this.#goes(id, moves)) this.#remove(id, lost);
    for (const id of lost) {
      if (isNameless(id)) this.impossible.push(`node ${id}`);
      else this.#say(machineOf(id), `ip netns del ${netnsOf(id)}`);
    }
    for (const id of fresh) {
      if (isNameless(id)) this.impossible.push(`node ${id}`);
      else this.#say(machineOf(id), `ip netns add ${netnsOf(id)}`);
      this.#links.set(`${id}:lo`, { up: false, mtu: '', master: '', addresses: new Set() });
    }
    for (const [from, to] of moves) this.#move(from, to);
    const wanted = this.#ids('link', this.goal);
    for (const id of wanted) if (!this.#links.has(id)) this.#make(id);
    // Bridges before their ports.
    const bridges = wanted.filter((id) => make(this.goal, id).kind === 'bridge');
    for (const id of new Set([...bridges, ...wanted])) this.#set(id);
    this.#route();
    this.#settings();
    this.#firewall();
  }

  #say(node: NodeId, line: string): void {
    this.commands.push(on(node, line));
  }

  #ids(what: string, of: Facts): string[] {
    return [...of.keys()].filter((f) => f.startsWith(`${what} `)).map((f) => f.slice(what.length + 1));
  }

  /** Interfaces that shall be in another namespace, with the same cable. */
  #moves(fresh: NodeId[]): Map<LinkId, LinkId> {
    const out = new Map<LinkId, LinkId>();
    for (const id of this.#ids('link', this.now)) {
      const { node, name } = splitLink(id);
      if (name === 'lo' || this.goal.has(`link ${id}`)) continue;
      const here = make(this.now, id);
      const to = this.#ids('link', this.goal).find((other) => {
        const there = make(this.goal, other);
        const free = !this.now.has(`link ${other}`) && splitLink(other).name === name;
        return free && there.kind === here.kind && there.peer === here.peer && here.peer !== undefined;
      });
      const target = to && splitLink(to).node;
      if (
        to &&
        target &&
        !isNameless(target) &&
        (this.now.has(`node ${target}`) || !netnsOf(target) || fresh.includes(target))
      )
        if (!isNameless(node)) out.set(id, to);
    }
    return out;
  }

  /** Whether the interface must go: it is not wanted, or not as it is. */
  #goes(id: LinkId, moves: Map<LinkId, LinkId>): boolean {
    if (splitLink(id).name === 'lo') return false;
    const [here, there] = [this.now.get(`link ${id}`), this.goal.get(`link ${id}`)];
    if (here === there) return false;
    if (there === undefined) return true;
    const [is, shall] = [make(this.now, id), make(this.goal, id)];
    return !(is.kind === shall.kind && is.peer !== undefined && moves.get(is.peer) === shall.peer);
  }

  #remove(id: LinkId, lost: NodeId[]): void {
    if (!this.#links.has(id)) return; // with its other end
    const { peer } = make(this.now, id);
    const ends = [id, ...(peer && this.now.has(`link ${peer}`) ? [peer] : [])];
    const end = ends.find((e) => !netnsOf(splitLink(e).node)) ?? id;
    const { node, name } = splitLink(end);
    // A namespace takes what is in it along.
    const withNode = ends.every((e) => lost.includes(splitLink(e).node));
    if (!withNode) this.#say(node, `ip link del ${name}`);
    for (const e of ends) this.#drop(e);
  }

  /** Forgets an interface and what went with it. */
  #drop(id: LinkId): void {
    this.#links.delete(id);
    const { node, name } = splitLink(id);
    this.#loseRoutes(node, name);
    for (const [other, l] of this.#links)
      if (splitLink(other).node === node && l.master === name) l.master = '';
  }

  #loseRoutes(node: NodeId, dev: string): void {
    for (const fact of this.#routes) {
      if (fact.startsWith(`route ${node} `) && this.now.get(fact) === dev) this.#routes.delete(fact);
    }
  }

  #move(from: LinkId, to: LinkId): void {
    const { node, name } = splitLink(from);
    this.#say(node, `ip link set ${name} netns ${netnsWord(splitLink(to).node)}`);
    const mtu = this.#links.get(from)?.mtu ?? '';
    this.#drop(from);
    this.#links.set(to, { up: false, mtu, master: '', addresses: new Set() });
  }

  #make(id: LinkId): void {
    const { node, name } = splitLink(id);
    const { kind, peer, vxlan, parent, mode } = make(this.goal, id);
    const bare = (): Walked => ({ up: false, mtu: '1500', master: '', addresses: new Set() });
    if (kind === 'bridge') this.#say(node, `ip link add ${name} type bridge`);
    else if (kind === 'vxlan' && vxlan) {
      const words = [`ip link add ${name} type vxlan id ${vxlan.vni}`];
      if (vxlan.local) words.push(`local ${vxlan.local}`);
      if (vxlan.remote) words.push(`${isGroup(vxlan.remote) ? 'group' : 'remote'} ${vxlan.remote}`);
      if (parent) words.push(`dev ${parent}`);
      words.push(`dstport ${vxlan.port}`);
      if (!vxlan.learning) words.push('nolearning');
      this.#say(node, words.join(' '));
    } else if (kind === 'macvlan' && mode && parent && !parent.includes(':')) {
      const mac = this.goal.get(`mac ${id}`);
      const own = mode !== 'passthru' && mac ? ` address ${mac}` : '';
      this.#say(node, `ip link add link ${parent} name ${name}${own} type macvlan mode ${mode}`);
    } else if (kind === 'veth' && peer && this.#mayPair(id, peer)) {
      const inside = (end: LinkId): boolean => netnsOf(splitLink(end).node) !== '';
      const [near, far] = inside(id) && !inside(peer) ? [peer, id] : [id, peer];
      const [a, b] = [splitLink(near), splitLink(far)];
      const mac = (end: LinkId): string => this.goal.get(`mac ${end}`) ?? '';
      const at = a.node === b.node ? '' : ` netns ${netnsWord(b.node)}`;
      const address = mac(near) && ` address ${mac(near)}`;
      this.#say(a.node, `ip link add ${a.name}${address} type veth peer name ${b.name}${at}`);
      if (mac(far)) this.#say(b.node, `ip link set ${b.name} address ${mac(far)}`);
      this.#links.set(peer, bare());
    } else {
      this.impossible.push(`link ${id}`);
      return;
    }
    this.#links.set(id, bare());
  }

  #mayPair(id: LinkId, peer: LinkId): boolean {
    // The other end may be on another machine, of which nothing is known here.
    if (this.#links.has(peer) || make(this.goal, peer).peer !== id) return false;
    return !isNameless(splitLink(id).node) && !isNameless(splitLink(peer).node);
  }

  #set(id: LinkId): void {
    const is = this.#links.get(id);
    if (!is) return;
    const { node, name } = splitLink(id);
    const up = this.goal.get(`state ${id}`) === 'up';
    if (is.up && !up) {
      this.#say(node, `ip link set ${name} down`);
      is.up = false;
      this.#loseRoutes(node, name);
      for (const a of is.addresses) if (a.includes(':')) is.addresses.delete(a);
    }
    const mtu = this.goal.get(`mtu ${id}`) ?? is.mtu;
    if (mtu !== is.mtu) this.#say(node, `ip link set ${name} mtu ${mtu}`);
    const master = this.goal.get(`master ${id}`) ?? '';
    if (master !== is.master)
      this.#say(node, `ip link set ${name} ${master ? `master ${master}` : 'nomaster'}`);
    const wanted = this.#ids(`address ${id}`, this.goal);
    for (const a of is.addresses) if (!wanted.includes(a)) this.#say(node, `ip addr del ${a} dev ${name}`);
    for (const a of wanted) if (!is.addresses.has(a)) this.#say(node, `ip addr add ${a} dev ${name}`);
    if (up && !is.up) this.#say(node, `ip link set ${name} up`);
  }

  #unroute(lost: NodeId[]): void {
    for (const fact of [...this.#routes]) {
      const [, node = '', ...words] = fact.split(' ');
      if (this.goal.has(fact) || lost.includes(node)) continue;
      this.#routes.delete(fact);
      const dev = `${node}:${this.now.get(fact) ?? ''}`;
      const falls = this.now.get(`state ${dev}`) === 'up' && this.goal.get(`state ${dev}`) !== 'up';
      if (!falls) this.#say(node, routeLine('del', words.join(' ')));
    }
  }

  #route(): void {
    const missing = [...this.goal.keys()].filter((f) => f.startsWith('route ') && !this.#routes.has(f));
    // A gateway must be within reach before a route can lead over it.
    const rank = (f: Fact): number => (f.includes(' via ') ? 1 : 0);
    for (const fact of missing.toSorted((a, b) => rank(a) - rank(b))) {
      const [, node = '', ...words] = fact.split(' ');
      this.#say(node, routeLine('add', words.join(' ')));
    }
  }

  #settings(): void {
    for (const [fact, value] of this.goal) {
      const [what, node = '', key] = fact.split(' ');
      if (what === 'sysctl' && this.now.has(fact) && this.now.get(fact) !== value)
        this.#say(node, `sysctl -w ${key}=${value}`);
    }
  }

  #firewall(): void {
    const chains = new Set([...this.now.keys(), ...this.goal.keys()].filter((f) => f.startsWith('rules ')));
    for (const fact of chains) {
      const [, node = '', program, table, chain] = fact.split(' ');
      if (netnsOf(node) && !this.goal.has(`node ${node}`)) continue;
      const line = (verb: string, rest: string): string =>
        `${program}${table === 'filter' ? '' : ` -t ${table}`} ${verb} ${chain} ${rest}`;
      const [is, shall] = [rules(this.now, fact), rules(this.goal, fact)];
      const kept: string[] = [];
      let from = 0;
      for (const rule of is) {
        const at = shall.indexOf(rule, from);
        if (at < 0) this.#say(node, line('-D', rule));
        else [from] = [at + 1, kept.push(rule)];
      }
      shall.forEach((rule, i) => {
        if (kept[i] === rule) return;
        const last = i === kept.length;
        this.#say(node, last ? line('-A', rule) : line('-I', `${i + 1} ${rule}`));
        kept.splice(i, 0, rule);
      });
    }
    const policies = new Set(
      [...this.now.keys(), ...this.goal.keys()].filter((f) => f.startsWith('policy ')),
    );
    for (const fact of policies) {
      const [, node = '', program, table, chain] = fact.split(' ');
      const shall = this.goal.get(fact) ?? 'ACCEPT';
      if (netnsOf(node) && !this.goal.has(`node ${node}`)) continue;
      if ((this.now.get(fact) ?? 'ACCEPT') !== shall)
        this.#say(node, `${program}${table === 'filter' ? '' : ` -t ${table}`} -P ${chain} ${shall}`);
    }
  }
}

const make = (of: Facts, id: LinkId): Make => JSON.parse(of.get(`link ${id}`) ?? '{"kind":""}') as Make;

const rules = (of: Facts, fact: Fact): string[] => JSON.parse(of.get(fact) ?? '[]') as string[];

const walked = (of: Facts, id: LinkId): Walked => ({
  up: of.get(`state ${id}`) === 'up',
  mtu: of.get(`mtu ${id}`) ?? '',
  master: of.get(`master ${id}`) ?? '',
  addresses: new Set(),
});

const isGroup = (ip: string): boolean => /^(22[4-9]|23\d)\.|^ff/i.test(ip);
