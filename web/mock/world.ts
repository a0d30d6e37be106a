// A toy of a world for developing and testing the page without a kernel: it
// knows the commands of the four models and little else.
import { linkId, machineOf, netnsOf, splitLink } from '../src/snapshot';
import type { Netdev, Node, NodeChange, NodeId, NodeKind, Probe, ProbeResult, Snapshot } from '../src/wire';

export class Refused extends Error {
  readonly errno: string;

  constructor(errno: string, message: string) {
    super(message);
    this.errno = errno;
  }
}

/** A node of which every part is told, as the server tells of a new one. */
export const whole = (n: Node): NodeChange => ({
  id: n.id,
  kind: n.kind,
  links: n.links ?? [],
  routes: n.routes ?? [],
  rules: n.rules ?? [],
  neighbours: n.neighbours ?? [],
  fdb: n.fdb ?? [],
  firewall: n.firewall ?? [],
  sockets: n.sockets ?? [],
  sysctls: n.sysctls ?? {},
  counters: n.counters ?? {},
});

export class ToyWorld {
  revision = 1;
  readonly #nodes: Node[] = [];
  #index = 1;

  constructor(machines: [string, NodeKind][], wires: [string, string][]) {
    for (const [name, kind] of machines) this.#add(name, kind);
    for (const [a, b] of wires) {
      for (const [here, there] of [
        [a, b],
        [b, a],
      ] as const) {
        const { node, name } = splitLink(here);
        const master = this.#node(node).kind === 'switch' ? 'br0' : undefined;
        this.#link(node, name, 'veth', { up: true, peer: there, ...(master && { master }) });
      }
    }
    for (const n of this.#nodes.filter((one) => one.kind === 'switch'))
      this.#link(n.id, 'br0', 'bridge', { up: true });
    this.#settle();
  }

  snapshot(): Snapshot {
    return structuredClone({ revision: this.revision, nodes: this.#nodes });
  }

  /** Does one command on a machine. */
  run(machine: NodeId, command: string): void {
    let words = command.trim().split(/\s+/);
    let node = machine;
    if (words[0] === 'ip' && words[1] === 'netns' && words[2] === 'exec') {
      node = `${machineOf(machine)}/${words[3] ?? ''}`;
      words = words.slice(4);
    } else if (words[1] === '-n') {
      node = `${machineOf(machine)}/${words[2] ?? ''}`;
      words = [words[0] as string, ...words.slice(3)];
    }
    this.#node(node);
    const [tool, object, verb, ...rest] = words;
    if (tool === 'sysctl') {
      const [key, value] = (words.at(-1) ?? '').split('=');
      const sysctls = (this.#node(node).sysctls ??= {});
      sysctls[key ?? ''] = value ?? '';
    } else if (tool === 'socat') this.#socat(node, words);
    else if (tool === 'iptables') this.#iptables(node, words.slice(1));
    else if (tool === 'ping') return;
    else if (tool !== 'ip') throw new Refused('ENOENT', `${tool ?? ''}: command not found`);
    else if (object === 'netns') this.#netns(node, verb, rest[0] ?? '');
    else if (object === 'link') this.#linkCommand(node, verb, rest);
    else if (object === 'addr') this.#addr(node, verb, rest);
    else if (object === 'route') this.#route(node, verb, rest);
    else throw new Refused('EINVAL', `Object "${object ?? ''}" is unknown, try "ip help".`);
    this.#settle();
    this.revision++;
  }

  /** Knows routing as far as the sender's own table. */
  probe(p: Probe): ProbeResult {
    const node = this.#node(p.from);
    const at = new Date().toISOString();
    const sent = p.count ?? 1;
    const fail = (reason: string): ProbeResult => ({ probe: p, ok: false, sent, received: 0, reason, at });
    const own = (node.links ?? []).some((l) => (l.addresses ?? []).some((a) => a.split('/')[0] === p.to));
    const routed = (node.routes ?? []).some((r) => !r.down && inPrefix(p.to, r.dst));
    if (!own && !routed) return fail('network-unreachable');
    const owner = this.#nodes.find((n) =>
      (n.links ?? []).some((l) => (l.addresses ?? []).some((a) => a.split('/')[0] === p.to)),
    );
    if (!owner) return fail('host-unreachable');
    const back = (node.links ?? []).flatMap((l) => l.addresses ?? []).map((a) => a.split('/')[0] as string);
    if (!own && !back.some((a) => (owner.routes ?? []).some((r) => inPrefix(a, r.dst))))
      return fail('no-answer');
    return { probe: p, ok: true, sent, received: sent, rtt_ms: 0.043, at };
  }

  #add(id: NodeId, kind: NodeKind): void {
    const node: Node = {
      id,
      kind,
      links: [],
      routes: [],
      rules: [],
      neighbours: [],
      fdb: [],
      firewall: [],
      sockets: [],
      sysctls: { 'net.ipv4.ip_forward': kind === 'router' ? '1' : '0', 'net.ipv4.conf.all.rp_filter': '0' },
      counters: {},
    };
    const after = this.#nodes.findLastIndex((n) => machineOf(n.id) === machineOf(id));
    this.#nodes.splice(after < 0 ? this.#nodes.length : after + 1, 0, node);
    this.#link(id, 'lo', 'loopback', { mtu: 65536, up: kind !== 'netns', mac: '00:00:00:00:00:00' });
  }

  #node(id: NodeId): Node {
    const node = this.#nodes.find((n) => n.id === id);
    if (!node)
      throw new Refused(
        'ENOENT',
        `Cannot open network namespace "${netnsOf(id) || id}": No such file or directory`,
      );
    return node;
  }

  #link(node: NodeId, name: string, kind: string, more: Partial<Netdev> = {}): void {
    const links = (this.#node(node).links ??= []);
    if (links.some((l) => l.name === name)) throw new Refused('EEXIST', 'RTNETLINK answers: File exists');
    const index = this.#index++;
    const mac = `02:00:00:00:${(index >> 8).toString(16).padStart(2, '0')}:${(index & 255).toString(16).padStart(2, '0')}`;
    links.push({ name, index, kind, up: false, carrier: false, mac, mtu: 1500, addresses: [], ...more });
  }

  #find(node: NodeId, name: string): Netdev {
    const link = (this.#node(node).links ?? []).find((l) => l.name === name);
    if (!link) throw new Refused('ENODEV', `Cannot find device "${name}"`);
    return link;
  }

  #netns(node: NodeId, verb: string | undefined, name: string): void {
    const id = `${machineOf(node)}/${name}`;
    if (verb !== 'add') {
      for (const l of this.#node(id).links ?? []) if (l.name !== 'lo') this.#unplug(id, l.name);
      this.#nodes.splice(
        this.#nodes.findIndex((n) => n.id === id),
        1,
      );
    } else if (this.#nodes.some((n) => n.id === id)) {
      throw new Refused('EEXIST', `Cannot create namespace file "/run/netns/${name}": File exists`);
    } else this.#add(id, 'netns');
  }

  #linkCommand(node: NodeId, verb: string | undefined, rest: string[]): void {
    const words = rest.filter((w) => w !== 'dev');
    const named = words.indexOf('name');
    const at = words[0] === 'link' ? named + 1 : 0; // "link eth0 name m0", as it is with a macvlan
    const name = words[at] ?? '';
    const after = (word: string): string | undefined => {
      const i = words.indexOf(word);
      return i < 0 ? undefined : words[i + 1];
    };
    if (verb === 'add') {
      const kind = after('type') ?? 'dummy';
      const peer = after('name') ?? after('peer');
      const [inside, mac] = [after('netns'), after('address')];
      const far = inside === undefined ? node : this.#inside(node, inside);
      const own = mac === undefined ? {} : { mac };
      this.#node(far);
      if (kind === 'macvlan') {
        const [parent = '', mode = 'vepa'] = [after('link'), after('mode')];
        const { mtu } = this.#find(node, parent);
        this.#link(node, name, kind, { ...own, parent, mode, mtu });
        return;
      }
      this.#link(node, name, kind, { ...own, ...(kind === 'veth' && peer && { peer: linkId(far, peer) }) });
      if (kind === 'veth' && peer) this.#link(far, peer, 'veth', { peer: linkId(node, name) });
      return;
    }
    const link = this.#find(node, name);
    if (verb === 'del') return this.#unplug(node, name);
    if (words.includes('up')) link.up = true;
    if (words.includes('down')) {
      link.up = false;
      const n = this.#node(node);
      n.routes = (n.routes ?? []).filter((r) => r.dev !== name);
    }
    if (words.includes('nomaster')) delete link.master;
    const [netns, master, mtu, mac] = [after('netns'), after('master'), after('mtu'), after('address')];
    if (mac) link.mac = mac;
    if (master) {
      this.#find(node, master);
      link.master = master;
    }
    if (mtu) link.mtu = Number(mtu);
    if (netns) {
      const to = this.#node(this.#inside(node, netns));
      this.#drop(node, name);
      delete link.master;
      Object.assign(link, { up: false, addresses: [] });
      (to.links ??= []).push(link);
      if (link.parent && !link.parent.includes(':')) link.parent = linkId(node, link.parent);
      if (link.peer) {
        const far = splitLink(link.peer);
        this.#find(far.node, far.name).peer = linkId(to.id, name);
      }
    }
  }

  /** The namespace that "netns NAME" means; 1 is the machine's first process. */
  #inside(node: NodeId, name: string): NodeId {
    return name === '1' ? machineOf(node) : `${machineOf(node)}/${name}`;
  }

  #unplug(node: NodeId, name: string): void {
    const { peer } = this.#find(node, name);
    this.#drop(node, name);
    if (peer) this.#drop(splitLink(peer).node, splitLink(peer).name);
  }

  #drop(node: NodeId, name: string): void {
    const n = this.#node(node);
    n.links = (n.links ?? []).filter((l) => l.name !== name);
    for (const l of n.links) if (l.master === name) delete l.master;
    n.routes = (n.routes ?? []).filter((r) => r.dev !== name);
  }

  #addr(node: NodeId, verb: string | undefined, words: string[]): void {
    const prefix = words[0] ?? '';
    const link = this.#find(node, words.at(-1) ?? '');
    if (verb === 'del') {
      if (!(link.addresses ?? []).includes(prefix))
        throw new Refused('EADDRNOTAVAIL', 'RTNETLINK answers: Cannot assign requested address');
      link.addresses = (link.addresses ?? []).filter((a) => a !== prefix);
      const n = this.#node(node);
      // With its last address an interface loses its routes.
      if (link.addresses.length === 0) n.routes = (n.routes ?? []).filter((r) => r.dev !== link.name);
      return;
    }
    if ((link.addresses ?? []).includes(prefix))
      throw new Refused('EEXIST', 'RTNETLINK answers: File exists');
    (link.addresses ??= []).push(prefix);
  }

  #route(node: NodeId, verb: string | undefined, words: string[]): void {
    const after = (word: string): string | undefined => {
      const i = words.indexOf(word);
      return i < 0 ? undefined : words[i + 1];
    };
    const dst =
      words[0] === 'default'
        ? '0.0.0.0/0'
        : (words[0] ?? '').includes('/')
          ? (words[0] ?? '')
          : `${words[0]}/32`;
    const n = this.#node(node);
    const [via, dev] = [after('via'), after('dev')];
    if (verb === 'del') {
      const at = (n.routes ?? []).findIndex(
        (r) => r.dst === dst && (!via || r.via === via) && (!dev || r.dev === dev),
      );
      if (at < 0) throw new Refused('ESRCH', 'RTNETLINK answers: No such process');
      n.routes?.splice(at, 1);
      return;
    }
    const known = (n.routes ?? []).some((r) => r.dst === dst && r.via === via);
    if (verb === 'add' && known) throw new Refused('EEXIST', 'RTNETLINK answers: File exists');
    const owner = (n.links ?? []).find((l) => (l.addresses ?? []).some((a) => via && inPrefix(via, a)));
    if (via && !dev && !owner) throw new Refused('ENETUNREACH', 'Error: Nexthop has invalid gateway.');
    const through = dev ?? owner?.name;
    if (through) this.#find(node, through);
    (n.routes ??= []).push({ dst, ...(via && { via }), ...(through && { dev: through }) });
  }

  #iptables(node: NodeId, words: string[]): void {
    const [table, rest] = words[0] === '-t' ? [words[1] ?? '', words.slice(2)] : ['filter', words];
    const [verb, name = '', ...rule] = rest;
    const chains = (this.#node(node).firewall ??= []);
    let chain = chains.find((c) => c.table === table && c.name === name);
    if (!chain) {
      const none = { packets: 0, bytes: 0, rules: [] };
      chain = { tool: 'iptables', family: 'ip', table, name, policy: 'ACCEPT', ...none };
      chains.push(chain);
    }
    const rules = (chain.rules ??= []);
    const counted = (text: string[]) => ({ text: `-A ${name} ${text.join(' ')}`, packets: 0, bytes: 0 });
    if (verb === '-P') chain.policy = rule[0] ?? '';
    else if (verb === '-A') rules.push(counted(rule));
    else if (verb === '-I') rules.splice(Number(rule[0]) - 1, 0, counted(rule.slice(1)));
    else if (verb === '-D') {
      const at = rules.findIndex((r) => r.text === counted(rule).text);
      if (at < 0) throw new Refused('', 'iptables: Bad rule (does a matching rule exist in that chain?).');
      rules.splice(at, 1);
    }
  }

  #socat(node: NodeId, words: string[]): void {
    const far = /UDP:([^,:]+):(\d+)/.exec(words.join(' '));
    const near = /bind=([^,:]+):(\d+)/.exec(words.join(' '));
    const tun = /TUN:([^,]+)/.exec(words.join(' '));
    if (!far || !near || !tun) throw new Refused('EINVAL', 'socat: wrong number of parameters');
    this.#link(node, 'tun0', 'tun', { up: true, mac: '', addresses: [tun[1] as string] });
    (this.#node(node).sockets ??= []).push({
      protocol: 'udp',
      local: `${near[1]}:${near[2]}`,
      remote: `${far[1]}:${far[2]}`,
    });
  }

  /** Carrier and the routes that come with addresses. */
  #settle(): void {
    for (const n of this.#nodes) {
      for (const l of n.links ?? []) {
        const far = l.peer ? splitLink(l.peer) : undefined;
        const peer =
          far && this.#nodes.find((one) => one.id === far.node)?.links?.find((one) => one.name === far.name);
        l.carrier = l.up && (l.peer ? (peer?.up ?? false) : true);
        if (l.kind === 'loopback' && l.up) l.addresses = ['127.0.0.1/8'];
        n.routes = (n.routes ?? []).filter((r) => !(r.protocol === 'kernel' && r.dev === l.name));
        for (const a of l.addresses ?? []) {
          const [ip, bits] = a.split('/') as [string, string];
          if (!l.up || bits === '32' || l.kind === 'loopback') continue;
          n.routes.push({
            dst: network(ip, Number(bits)),
            dev: l.name,
            src: ip,
            scope: 'link',
            protocol: 'kernel',
          });
        }
      }
    }
  }
}

const number = (ip: string): number => ip.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);

function network(ip: string, bits: number): string {
  const mask = 2 ** (32 - bits);
  const n = Math.floor(number(ip) / mask) * mask;
  return `${[24, 16, 8, 0].map((shift) => Math.floor(n / 2 ** shift) % 256).join('.')}/${bits}`;
}

function inPrefix(ip: string, prefix: string): boolean {
  const [base, bits] = prefix.split('/') as [string, string];
  return network(ip, Number(bits)) === network(base, Number(bits));
}
