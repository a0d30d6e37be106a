import { linkId, machineOf, netnsOf, splitLink } from '../snapshot';
import type { Store } from '../store.svelte';
import type { Command, LinkId, Netdev, NodeId, Snapshot } from '../wire';
import { findLink, findNode } from './actions';
import {
  inside,
  networkOf,
  nextFree,
  parseAddress,
  parsePrefix,
  showAddress,
  showPrefix,
  type Address,
  type Prefix,
} from './address';

/** c1, c2, … : the first that nobody has. */
export function nextName(base: string, taken: Iterable<string>, from = 1): string {
  const used = new Set(taken);
  for (let i = from; ; i++) if (!used.has(`${base}${i}`)) return `${base}${i}`;
}

export const namesOn = (s: Snapshot, machine: NodeId): string[] =>
  (s.nodes ?? []).filter((n) => machineOf(n.id) === machine && netnsOf(n.id)).map((n) => netnsOf(n.id));

export const linksIn = (s: Snapshot, node: NodeId): string[] =>
  (findNode(s, node)?.links ?? []).map((l) => l.name);

/** What the next steps of the lab ask for, so that what is done by hand bears the same names. */
export interface Wishes {
  containers: { machine: NodeId; name: string }[];
  bridges: { node: NodeId; name: string }[];
  cables: { a: LinkId; b: LinkId }[];
  addresses: { link: LinkId; address: string }[];
  routes: { node: NodeId; to: string; via: string; dev: string }[];
  /** Whether new interfaces are set up at once: not where a step teaches it. */
  up: boolean;
}

/** Reads them off the commands of the steps; an end that is moved later is named where it goes. */
export function wishesOf(commands: Command[]): Wishes {
  const out: Wishes = { containers: [], bridges: [], cables: [], addresses: [], routes: [], up: false };
  for (const { node: typedOn, command } of commands) {
    let words = command.trim().split(/\s+/);
    if (words[0] === 'sudo') words = words.slice(1);
    let node = typedOn;
    const enter = (name: string | undefined, rest: number): void => {
      node = `${machineOf(typedOn)}/${name ?? ''}`;
      words = words.slice(rest);
    };
    if (words[1] === 'netns' && words[2] === 'exec') enter(words[3], 4);
    else if (words[1] === '-n') {
      enter(words[2], 3);
      words = ['ip', ...words];
    }
    if (words[0] !== 'ip') continue;
    const after = (word: string): string => words[words.indexOf(word) + 1] ?? '';
    const has = (word: string): boolean => words.includes(word);
    const name = has('dev') ? after('dev') : (words[3] ?? '');
    const [, object, verb] = words;
    if (object === 'netns' && verb === 'add') out.containers.push({ machine: node, name });
    else if (object === 'link' && verb === 'add') {
      const made = has('name') && words[3] === 'name' ? (words[4] ?? '') : name;
      if (after('type') === 'bridge') out.bridges.push({ node, name: made });
      if (after('type') !== 'veth') continue;
      const tail = words.slice(words.indexOf('peer') + 1).filter((w) => w !== 'name');
      const far = tail[1] === 'netns' ? `${machineOf(node)}/${tail[2] ?? ''}` : node;
      out.cables.push({ a: linkId(node, made), b: linkId(far, tail[0] ?? '') });
    } else if (object === 'link' && verb === 'set' && has('netns')) {
      const [from, to] = [linkId(node, name), linkId(`${machineOf(node)}/${after('netns')}`, name)];
      out.cables = out.cables.map(({ a, b }) => ({ a: a === from ? to : a, b: b === from ? to : b }));
    } else if (object?.startsWith('addr') && verb === 'add') {
      out.addresses.push({ link: linkId(node, after('dev')), address: words[3] ?? '' });
    } else if (object === 'route' && verb === 'add') {
      const given = (word: string): string => (has(word) ? after(word) : '');
      out.routes.push({ node, to: words[3] ?? '', via: given('via'), dev: given('dev') });
    }
  }
  return out;
}

/** What is still to do in the open lab; in free play nothing is. */
export function wishesIn(store: Store): Wishes {
  const { lab, session } = store;
  const steps = lab?.steps ?? [];
  const todo = steps.filter((step) => session?.steps.find((p) => p.id === step.id)?.state !== 'done');
  return { ...wishesOf(todo.flatMap((step) => step.commands)), up: steps.length === 0 };
}

export function containerName(s: Snapshot, machine: NodeId, w: Wishes): string {
  const taken = namesOn(s, machine);
  const wish = w.containers.find((c) => c.machine === machine && !taken.includes(c.name));
  return wish?.name ?? nextName('c', taken);
}

export function bridgeName(s: Snapshot, node: NodeId, w: Wishes): string {
  const taken = linksIn(s, node);
  const wish = w.bridges.find((b) => b.node === node && !taken.includes(b.name));
  return wish?.name ?? nextName('br', taken, 0);
}

/** The names of both ends of a new cable. */
export function cableNames(s: Snapshot, a: NodeId, b: NodeId, w: Wishes): [string, string] {
  for (const c of w.cables) {
    const [x, y] = [splitLink(c.a), splitLink(c.b)];
    if (findLink(s, c.a) || findLink(s, c.b)) continue;
    if (x.node === a && y.node === b) return [x.name, y.name];
    if (x.node === b && y.node === a) return [y.name, x.name];
  }
  const [here, there] = [linksIn(s, a), linksIn(s, b)];
  // A container's end is its first interface; the end outside says where it leads.
  const name = (node: NodeId, taken: string[]): string =>
    netnsOf(node) ? nextName('eth', taken, 0) : nextName('veth', taken, 0);
  const first = name(a, here);
  return [first, name(b, a === b ? [...there, first] : there)];
}

/** All addresses that somebody has, anywhere in the world. */
const everyAddress = (s: Snapshot): Address[] =>
  (s.nodes ?? []).flatMap((n) =>
    (n.links ?? []).flatMap((l) => (l.addresses ?? []).flatMap((a) => parsePrefix(a) ?? [])),
  );

/** The interfaces that share a network with this one: behind its cable, and behind bridges. */
export function segment(s: Snapshot, start: LinkId): LinkId[] {
  const seen = new Set<LinkId>([start]);
  for (const id of seen) {
    const { node } = splitLink(id);
    const l = findLink(s, id);
    if (l?.peer) seen.add(l.peer);
    const bridge = l?.master ?? (l?.kind === 'bridge' ? l.name : undefined);
    if (bridge === undefined) continue;
    seen.add(linkId(node, bridge));
    for (const port of findNode(s, node)?.links ?? [])
      if (port.master === bridge) seen.add(linkId(node, port.name));
  }
  return [...seen];
}

/** Addresses that would fit an interface, the best first. */
export function addressesFor(s: Snapshot, link: LinkId, w: Wishes): string[] {
  const have = findLink(s, link)?.addresses ?? [];
  const taken = everyAddress(s);
  const wished = w.addresses
    .filter((a) => a.link === link && !have.includes(a.address))
    .map((a) => a.address);
  const networks = new Map<string, Prefix>();
  for (const id of segment(s, link)) {
    for (const a of findLink(s, id)?.addresses ?? []) {
      const p = parsePrefix(a);
      if (p && !a.startsWith('fe80:')) networks.set(showPrefix(networkOf(p)), networkOf(p));
    }
  }
  const near = [...networks.values()].flatMap((n) => nextFree(n, taken) ?? []).map(showPrefix);
  const fresh = freshNetwork(s);
  return [...new Set([...wished, ...near, ...(near.length || !fresh ? [] : [showPrefix(fresh)])])];
}

/** The first address of a network that nobody uses. */
function freshNetwork(s: Snapshot): Prefix | null {
  const all = everyAddress(s);
  for (let i = 0; i < 256; i++) {
    const net = parsePrefix(`172.16.${i}.0/24`);
    if (net && !all.some((a) => inside(a, net))) return nextFree(net, []);
  }
  return null;
}

/** Addresses of others that this node can reach directly, and so may send packets over. */
export function gatewaysFor(s: Snapshot, node: NodeId): string[] {
  const own = findNode(s, node)?.links ?? [];
  const out: string[] = [];
  for (const l of own) {
    const nets = (l.addresses ?? []).flatMap((a) => parsePrefix(a) ?? []);
    for (const id of segment(s, linkId(node, l.name))) {
      if (splitLink(id).node === node) continue;
      for (const a of findLink(s, id)?.addresses ?? []) {
        const p = parsePrefix(a);
        if (p && nets.some((n) => inside(p, n))) out.push(showAddress(p));
      }
    }
  }
  // Routers and bridges of the machine before mere neighbours.
  const rank = (ip: string): number => {
    const owner = (s.nodes ?? []).find((n) =>
      (n.links ?? []).some((l) => (l.addresses ?? []).some((a) => a.startsWith(`${ip}/`))),
    );
    return owner?.kind === 'router' ? 0 : owner?.id === machineOf(node) ? 1 : 2;
  };
  return [...new Set(out)].toSorted((a, b) => rank(a) - rank(b));
}

/** The networks of a node's own interfaces, without its wires to other machines. */
export function networksOf(s: Snapshot, node: NodeId): { network: string; dev: string }[] {
  return (findNode(s, node)?.links ?? []).flatMap((l) =>
    (l.addresses ?? []).flatMap((a) => {
      const p = parsePrefix(a);
      const local = l.kind === 'loopback' || a.startsWith('fe80:') || outward(node, l);
      return p && !local && p.family === 4 ? [{ network: showPrefix(networkOf(p)), dev: l.name }] : [];
    }),
  );
}

/** Whether an interface leads to another machine. */
export const outward = (node: NodeId, l: Netdev): boolean =>
  l.peer !== undefined && machineOf(splitLink(l.peer).node) !== machineOf(node);

/** Whether the node itself can reach an address by an interface of its own. */
export function reachable(s: Snapshot, node: NodeId, ip: string): boolean {
  const a = parseAddress(ip);
  const n = findNode(s, node);
  if (!a || !n) return false;
  const prefixes = [
    ...(n.links ?? []).filter((l) => l.up).flatMap((l) => l.addresses ?? []),
    ...(n.routes ?? []).filter((r) => !r.via).map((r) => r.dst),
  ];
  return prefixes.some((p) => {
    const net = parsePrefix(p);
    return net !== null && inside(a, net);
  });
}
