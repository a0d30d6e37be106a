// What a person would say of the difference between two states of the kernel.
import type { Key, Params } from '../i18n/index.svelte';
import { chainCommand, onNode } from '../inspector/tables';
import {
  isDefault,
  kindText,
  linkId,
  linkState,
  machineOf,
  netnsOf,
  shownAddresses,
  tunnelText,
} from '../snapshot';
import type {
  Chain,
  FdbEntry,
  LinkId,
  Neighbour,
  Netdev,
  Node,
  NodeId,
  Route,
  Snapshot,
  Socket,
  Vxlan,
} from '../wire';

export type Sign = '+' | '−' | '~';

export interface Change {
  sign: Sign;
  key: Key;
  params: Params;
  /** The command that shows it, as typed on the machine. */
  command: string;
  /** What to look at in the picture. */
  at: NodeId | LinkId;
}

export interface NodeChanges {
  node: NodeId;
  changes: Change[];
}

/**
 * The changes from a to b, by node. What packets leave behind is not among them
 * (counters, learned neighbours and FDB entries), nor what the kernel gives to
 * every interface by itself (link-local addresses, settings).
 */
export function changesBetween(a: Snapshot, b: Snapshot): NodeChanges[] {
  const [before, after] = [byId(a.nodes), byId(b.nodes)];
  const links = pairLinks(before, after);
  const groups = new Map<NodeId, Change[]>();
  const say = (node: NodeId, changes: Change[]): void => {
    if (changes.length > 0) groups.set(node, [...(groups.get(node) ?? []), ...changes]);
  };
  for (const node of before.values()) {
    if (!after.has(node.id)) say(machineOf(node.id), [namespace(node, '−')]);
  }
  for (const node of after.values()) {
    if (!before.has(node.id) && netnsOf(node.id)) say(machineOf(node.id), [namespace(node, '+')]);
  }
  for (const node of after.values()) {
    const was = before.get(node.id);
    say(node.id, [...linkChanges(node, links), ...tableChanges(was ?? bare(node), node)]);
  }
  return [...groups].map(([node, changes]) => ({ node, changes }));
}

const byId = (nodes: Node[] | null): Map<NodeId, Node> => new Map((nodes ?? []).map((n) => [n.id, n]));

/** A node of which nothing was known: all that it has is new but what every node begins with. */
const bare = (n: Node): Node => ({
  ...n,
  routes: [],
  rules: [],
  neighbours: [],
  fdb: [],
  firewall: [],
  sockets: [],
  sysctls: n.sysctls,
});

function namespace(node: Node, sign: Sign): Change {
  return {
    sign,
    key: sign === '+' ? 'change.netns.add' : 'change.netns.del',
    params: { name: netnsOf(node.id) },
    command: 'ip netns',
    at: sign === '+' ? node.id : machineOf(node.id),
  };
}

// --- interfaces

interface Place {
  node: NodeId;
  link: Netdev;
}

/** Which interface of before is which of after: by its place, else by its address elsewhere. */
interface Pairs {
  was: Map<Netdev, Place>;
  became: Map<Netdev, Place>;
  gone: Place[];
}

function pairLinks(before: Map<NodeId, Node>, after: Map<NodeId, Node>): Pairs {
  const pairs: Pairs = { was: new Map(), became: new Map(), gone: [] };
  const places = (nodes: Map<NodeId, Node>): Place[] =>
    [...nodes.values()].flatMap((n) => (n.links ?? []).map((link) => ({ node: n.id, link })));
  const fresh = places(after);
  const left = places(before);
  const pair = (fits: (x: Place, y: Place) => boolean): void => {
    for (const y of fresh) {
      if (pairs.was.has(y.link)) continue;
      const x = left.find((one) => !pairs.became.has(one.link) && fits(one, y));
      if (!x) continue;
      pairs.was.set(y.link, x);
      pairs.became.set(x.link, y);
    }
  };
  const alike = (x: Netdev, y: Netdev): boolean => x.kind === y.kind && x.index === y.index;
  pair((x, y) => x.node === y.node && alike(x.link, y.link) && x.link.name === y.link.name);
  pair((x, y) => x.node === y.node && alike(x.link, y.link) && x.link.mac === y.link.mac);
  pair(
    (x, y) =>
      x.node !== y.node && x.link.kind === y.link.kind && known(x.link.mac) && x.link.mac === y.link.mac,
  );
  pairs.gone = left.filter((x) => !pairs.became.has(x.link));
  return pairs;
}

const known = (mac: string): boolean => mac !== '' && !mac.startsWith('00:00:00:00:00:00');

function linkChanges(node: Node, pairs: Pairs): Change[] {
  const out: Change[] = [];
  const add = (sign: Sign, key: Key, params: Params, link?: string, command?: string): void => {
    const shown = command ?? (link === undefined ? 'ip link' : `ip link show dev ${link}`);
    out.push({
      sign,
      key,
      params,
      command: onNode(node, shown),
      at: link === undefined ? node.id : linkId(node.id, link),
    });
  };
  for (const x of pairs.gone) if (x.node === node.id) add('−', 'change.link.del', { name: x.link.name });
  for (const [x, y] of pairs.became) {
    // A place is told apart by its interface: this one was here and is elsewhere.
    const from = pairs.was.get(y.link);
    if (from?.node === node.id && y.node !== node.id)
      add('−', 'change.link.left', { name: x.name, node: y.node });
  }
  for (const link of node.links ?? []) {
    const { name } = link;
    const was = pairs.was.get(link);
    if (!was && link.kind !== 'loopback') {
      if (link.peer) {
        const [peer = '', far = ''] = [link.peer.split(':')[1], link.peer.split(':')[0]];
        if (far === node.id) add('+', 'change.link.cable', { name, peer }, name);
        else add('+', 'change.link.cableTo', { name, peer, node: far }, name);
      } else add('+', 'change.link.add', { name, kind: kindText(link) }, name);
    }
    if (was && was.node !== node.id) {
      const params = { name, node: was.node };
      if (was.link.name === name) add('+', 'change.link.came', params, name);
      else add('+', 'change.link.cameAs', { ...params, old: was.link.name }, name);
    } else if (was && was.link.name !== name) {
      add('~', 'change.link.renamed', { old: was.link.name, name }, name);
    }
  }
  // What is plugged into a new bridge is told after the bridge.
  for (const link of node.links ?? []) attributes(pairs.was.get(link)?.link ?? blank(link), link, add);
  return out;
}

/** How an interface begins: down, and alone. */
const blank = (l: Netdev): Netdev => {
  const { name, index, kind, mac, mtu } = l;
  return {
    name,
    index,
    kind,
    mac,
    mtu,
    up: false,
    carrier: false,
    addresses: [],
    ...(l.vxlan && { vxlan: l.vxlan }),
    ...(l.mode && { mode: l.mode }),
    ...(l.tunnel && { tunnel: l.tunnel }),
    ...(l.bridge && { bridge: { stp: false, vlan_filtering: false } }),
  };
};

function attributes(
  was: Netdev,
  now: Netdev,
  add: (sign: Sign, key: Key, params: Params, link?: string, command?: string) => void,
): void {
  const { name } = now;
  if (linkState(was) !== linkState(now)) add('~', `change.link.state.${linkState(now)}`, { name }, name);
  if (was.master !== now.master) {
    if (was.master) add('−', 'change.detached', { name, master: was.master }, name);
    if (now.master) add('+', 'change.attached', { name, master: now.master }, name, 'bridge link');
  }
  if (was.mtu !== now.mtu)
    add('~', 'change.mtu', { name, old: String(was.mtu), value: String(now.mtu) }, name);
  if (was.mac !== now.mac && known(was.mac) && now.kind !== 'bridge')
    add('~', 'change.mac', { name, old: was.mac, value: now.mac }, name);
  const shown = `ip addr show dev ${name}`;
  const [old, fresh] = [addresses(was), addresses(now)];
  for (const value of old)
    if (!fresh.includes(value)) add('−', 'change.address.del', { value, name }, name, shown);
  for (const value of fresh)
    if (!old.includes(value)) add('+', 'change.address.add', { value, name }, name, shown);
  const details = `ip -d link show dev ${name}`;
  const [vxlan, bridge] = [now.vxlan, now.bridge];
  if (was.vxlan && vxlan && vxlanText(was.vxlan) !== vxlanText(vxlan))
    add('~', 'change.vxlan', { name, old: vxlanText(was.vxlan), value: vxlanText(vxlan) }, name, details);
  if (was.tunnel && now.tunnel && tunnelText(was.tunnel) !== tunnelText(now.tunnel))
    add(
      '~',
      'change.tunnel',
      { name, old: tunnelText(was.tunnel), value: tunnelText(now.tunnel) },
      name,
      details,
    );
  if (was.mode && now.mode && was.mode !== now.mode)
    add('~', 'change.mode', { name, kind: now.kind, old: was.mode, value: now.mode }, name, details);
  if (was.bridge && bridge) {
    for (const what of ['stp', 'vlan_filtering'] as const) {
      if (was.bridge[what] === bridge[what]) continue;
      add('~', 'change.bridge', { name, what, value: bridge[what] ? '1' : '0' }, name, details);
    }
  }
}

/** Without those that come with the loopback being up. */
const addresses = (l: Netdev): string[] =>
  shownAddresses(l).filter((a) => l.kind !== 'loopback' || (a !== '127.0.0.1/8' && a !== '::1/128'));

const vxlanText = (v: Vxlan): string =>
  [
    `id ${v.vni}`,
    v.local && `local ${v.local}`,
    v.remote && `remote ${v.remote}`,
    `dstport ${v.port}`,
    v.learning ? '' : 'nolearning',
  ]
    .filter(Boolean)
    .join(' ');

// --- tables

function tableChanges(was: Node, now: Node): Change[] {
  return [
    ...routeChanges(was, now),
    ...neighbourChanges(was, now),
    ...fdbChanges(was, now),
    ...lines(now, 'ip rule', rulesOf(was), rulesOf(now), ['change.rule.add', 'change.rule.del']),
    ...firewallChanges(was, now),
    ...sysctlChanges(was, now),
    ...lines(now, 'ss -lntu', socketsOf(was), socketsOf(now), ['change.socket.add', 'change.socket.del']),
  ];
}

const rulesOf = (n: Node): string[] => (n.rules ?? []).map((r) => `${r.priority}: ${r.text}`);
const socketsOf = (n: Node): string[] => (n.sockets ?? []).map(socketText);
const socketText = (s: Socket): string =>
  [s.protocol, s.local, s.remote && `→ ${s.remote}`].filter(Boolean).join(' ');

/** Entries that are there or not, each as its text. */
function lines(
  node: Node,
  command: string,
  old: string[],
  fresh: string[],
  [add, del]: [Key, Key],
): Change[] {
  const change = (sign: Sign, key: Key, value: string): Change => ({
    sign,
    key,
    params: { value },
    command: onNode(node, command),
    at: node.id,
  });
  return [
    ...without(old, fresh).map((value) => change('−', del, value)),
    ...without(fresh, old).map((value) => change('+', add, value)),
  ];
}

/** What of a is not in b; what a has twice and b once is left once. */
function without(a: readonly string[], b: readonly string[]): string[] {
  const rest = [...b];
  return a.filter((one) => {
    const i = rest.indexOf(one);
    if (i < 0) return true;
    rest.splice(i, 1);
    return false;
  });
}

/** As `ip route` has it. */
export function routeText(r: Route): string {
  const bare = whole(r.dst) ? r.dst.slice(0, r.dst.lastIndexOf('/')) : r.dst;
  const words = [r.type, isDefault(r.dst) ? 'default' : bare];
  if (r.via) words.push('via', r.via);
  if (r.dev) words.push('dev', r.dev);
  if (r.src) words.push('src', r.src);
  if (r.metric) words.push('metric', String(r.metric));
  if (r.table) words.push('table', String(r.table));
  if (r.onlink) words.push('onlink');
  return words.filter(Boolean).join(' ');
}

const whole = (dst: string): boolean => dst.endsWith(dst.includes(':') ? '/128' : '/32');

function routeChanges(was: Node, now: Node): Change[] {
  const place = (r: Route): string => [r.type, r.dst, r.table ?? 0, r.metric ?? 0].join(' ');
  const [old, fresh] = [was.routes ?? [], now.routes ?? []];
  const rest = (a: Route[], b: Route[]): Route[] => {
    const texts = without(a.map(routeText), b.map(routeText));
    return a.filter((r) => {
      const i = texts.indexOf(routeText(r));
      if (i >= 0) texts.splice(i, 1);
      return i >= 0;
    });
  };
  const [lost, made] = [rest(old, fresh), rest(fresh, old)];
  const change = (sign: Sign, key: Key, r: Route, params: Params = {}): Change => ({
    sign,
    key,
    params: { value: routeText(r), ...params },
    command: onNode(
      now,
      `${r.dst.includes(':') ? 'ip -6 route' : 'ip route'}${r.table ? ` show table ${r.table}` : ''}`,
    ),
    at: r.dev && (now.links ?? []).some((l) => l.name === r.dev) ? linkId(now.id, r.dev) : now.id,
  });
  const out: Change[] = [];
  const replaced = new Set<Route>();
  for (const r of lost) {
    const next = made.find((m) => !replaced.has(m) && place(m) === place(r));
    if (next) {
      replaced.add(next);
      out.push(change('~', 'change.route.other', next, { old: routeText(r) }));
    } else out.push(change('−', 'change.route.del', r));
  }
  for (const r of made) {
    if (replaced.has(r)) continue;
    out.push(change('+', r.protocol === 'kernel' ? 'change.route.kernel' : 'change.route.add', r));
  }
  for (const r of fresh) {
    const before = old.find((one) => routeText(one) === routeText(r));
    if (before && !before.down !== !r.down)
      out.push(change('~', r.down ? 'change.route.dead' : 'change.route.alive', r));
  }
  return out;
}

type Fate = 'add' | 'del' | 'other';
const neighbourKeys: Record<Fate, Key> = {
  add: 'change.neighbour.add',
  del: 'change.neighbour.del',
  other: 'change.neighbour.other',
};
const fdbKeys: Record<Fate, Key> = {
  add: 'change.fdb.add',
  del: 'change.fdb.del',
  other: 'change.fdb.other',
};
const floodKeys: Record<Fate, Key> = { ...fdbKeys, add: 'change.flood.add', del: 'change.flood.del' };
const portKeys: Record<Fate, Key> = { ...fdbKeys, add: 'change.port.add', del: 'change.port.del' };

function neighbourChanges(was: Node, now: Node): Change[] {
  const fixed = (n: Node): Map<string, Neighbour> =>
    new Map((n.neighbours ?? []).filter((e) => e.state === 'permanent').map((e) => [`${e.ip} ${e.dev}`, e]));
  return entries(
    fixed(was),
    fixed(now),
    (e) => e.mac ?? '',
    (sign, key, e, old) => ({
      sign,
      key: neighbourKeys[key],
      params: { ip: e.ip, mac: e.mac ?? '', name: e.dev, ...(old && { old: old.mac ?? '' }) },
      command: onNode(now, `ip neigh show dev ${e.dev}`),
      at: linkId(now.id, e.dev),
    }),
  );
}

const everybody = '00:00:00:00:00:00';

function fdbChanges(was: Node, now: Node): Change[] {
  // One address may lead to several far ends; then each of them is an entry.
  const made = (n: Node): Map<string, FdbEntry> =>
    new Map(
      (n.fdb ?? [])
        .filter((e) => (e.state === 'permanent' && e.dst) || e.state === 'static')
        .map((e) => [[e.mac, e.dev, e.vlan, e.mac === everybody && e.dst].join(' '), e]),
    );
  return entries(
    made(was),
    made(now),
    (e) => e.dst ?? '',
    (sign, key, e, old) => ({
      sign,
      key: (!e.dst ? portKeys : e.mac === everybody ? floodKeys : fdbKeys)[key],
      params: { mac: e.mac, name: e.dev, value: e.dst ?? '', ...(old && { old: old.dst ?? '' }) },
      command: onNode(now, `bridge fdb show dev ${e.dev}`),
      at: linkId(now.id, e.dev),
    }),
  );
}

/** Entries of a table by what they are for: gone, new, or with another value. */
function entries<T>(
  old: Map<string, T>,
  fresh: Map<string, T>,
  value: (e: T) => string,
  change: (sign: Sign, key: Fate, e: T, old?: T) => Change,
): Change[] {
  const out: Change[] = [];
  for (const [k, e] of old) if (!fresh.has(k)) out.push(change('−', 'del', e));
  for (const [k, e] of fresh) {
    const was = old.get(k);
    if (was === undefined) out.push(change('+', 'add', e));
    else if (value(was) !== value(e)) out.push(change('~', 'other', e, was));
  }
  return out;
}

function firewallChanges(was: Node, now: Node): Change[] {
  const id = (c: Chain): string => [c.tool, c.family, c.table, c.name].join(' ');
  const chains = (n: Node): Map<string, Chain> => new Map((n.firewall ?? []).map((c) => [id(c), c]));
  const [old, fresh] = [chains(was), chains(now)];
  const out: Change[] = [];
  for (const key of new Set([...old.keys(), ...fresh.keys()])) {
    const [a, b] = [old.get(key), fresh.get(key)];
    const c = b ?? a;
    if (!c) continue;
    const chain = `${c.table} ${c.name}`;
    const add = (sign: Sign, what: Key, params: Params = {}): number =>
      out.push({
        sign,
        key: what,
        params: { chain, ...params },
        command: onNode(now, chainCommand(c.tool, c.family, c.table, c.name)),
        at: now.id,
      });
    // A chain with a policy is there, empty and accepting, before anybody asks for it.
    const [before, after] = [a?.policy ?? (c.policy && 'ACCEPT'), b?.policy ?? (c.policy && 'ACCEPT')];
    if (!c.policy && !a) add('+', 'change.chain.add');
    if (!c.policy && !b) add('−', 'change.chain.del');
    if (before && after && before.toUpperCase() !== after.toUpperCase())
      add('~', 'change.policy', { old: before, value: after });
    const [rules, made] = [textsOf(a), textsOf(b)];
    const [gone, added] = [without(rules, made), without(made, rules)];
    for (const value of gone) add('−', 'change.firewall.del', { value });
    for (const value of added) add('+', 'change.firewall.add', { value });
    const kept = (all: string[], but: string[]): string => without(all, but).join('\n');
    if (kept(rules, gone) !== kept(made, added)) add('~', 'change.firewall.order');
  }
  return out;
}

const textsOf = (c: Chain | undefined): string[] => (c?.rules ?? []).map((r) => r.text);

/** Settings come and go with their interfaces; only those that stay can have been changed. */
function sysctlChanges(was: Node, now: Node): Change[] {
  const old = was.sysctls ?? {};
  return Object.entries(now.sysctls ?? {})
    .filter(([name, value]) => old[name] !== undefined && old[name] !== value)
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([name, value]) => ({
      sign: '~',
      key: 'change.sysctl',
      params: { name, old: old[name] ?? '', value },
      command: onNode(now, `sysctl ${name}`),
      at: now.id,
    }));
}
