import type { Diff, LinkId, Netdev, Node, NodeId, Snapshot, Tunnel } from './wire';

/** What a picture and a table need of a snapshot that has not come yet. */
export const emptySnapshot: Snapshot = { revision: 0, nodes: [] };

/**
 * The snapshot after the diff, or null where the diff does not fit: an update
 * was missed, and the reader has to ask for a snapshot again.
 */
export function applyDiff(s: Snapshot, d: Diff): Snapshot | null {
  if (d.from !== s.revision) return null;
  const byId = new Map((s.nodes ?? []).map((n) => [n.id, n]));
  for (const change of d.changed ?? []) {
    byId.set(change.id, { ...(byId.get(change.id) ?? blank(change.id)), ...change });
  }
  const order = d.order ?? (s.nodes ?? []).map((n) => n.id);
  const nodes: Node[] = [];
  for (const id of order) {
    const n = byId.get(id);
    if (!n) return null;
    nodes.push(n);
  }
  const limits = d.limits ?? s.limits ?? [];
  return limits.length > 0 ? { revision: d.to, nodes, limits } : { revision: d.to, nodes };
}

function blank(id: NodeId): Node {
  return {
    id,
    kind: 'netns',
    links: null,
    routes: null,
    rules: null,
    neighbours: null,
    fdb: null,
    firewall: null,
    sockets: null,
    sysctls: null,
    counters: null,
  };
}

export function machineOf(id: NodeId): string {
  const slash = id.indexOf('/');
  return slash < 0 ? id : id.slice(0, slash);
}
export const netnsOf = (id: NodeId): string => id.slice(machineOf(id).length + 1);
/** A namespace that has no name: only a process holds it. The sandbox calls it by its inode. */
export const isHidden = (id: NodeId): boolean => /^net-\d+$/.test(netnsOf(id));
export const linkId = (node: NodeId, name: string): LinkId => `${node}:${name}`;

export function splitLink(id: LinkId): { node: NodeId; name: string } {
  const colon = id.indexOf(':');
  return colon < 0 ? { node: id, name: '' } : { node: id.slice(0, colon), name: id.slice(colon + 1) };
}

/** A cable by its ends, whichever is named first; its first part is an interface's id. */
export const cableId = (a: LinkId, b: LinkId): string => [a, b].toSorted().join('=');

/** The ends of a cable, or null where the id is none of a cable. */
export function endsOf(id: string): [LinkId, LinkId] | null {
  const [a, b] = id.split('=', 2);
  return a?.includes(':') && b?.includes(':') ? [a, b] : null;
}

export const isDefault = (dst: string): boolean => dst === '0.0.0.0/0' || dst === '::/0';

export type LinkState = 'up' | 'no-carrier' | 'down';

export function linkState(l: Netdev): LinkState {
  if (!l.up) return 'down';
  return l.carrier ? 'up' : 'no-carrier';
}

/** "veth", "macvlan bridge": with its mode, where its kind has some. */
export const kindText = (l: Netdev): string => (l.mode ? `${l.kind} ${l.mode}` : l.kind);

/** Where a tunnel leads, as one line: "10.0.0.10 → 10.0.0.20, key 7". */
export const tunnelText = ({ local, remote, key }: Tunnel): string =>
  [`${local ?? '*'} → ${remote ?? '*'}`, ...(key ? [`key ${key}`] : [])].join(', ');

/** Addresses without the IPv6 link-local ones that the kernel gives to every interface. */
export function shownAddresses(l: Netdev): string[] {
  return (l.addresses ?? []).filter((a) => !a.startsWith('fe80:'));
}

/**
 * The nodes and interfaces that a person sees change between two snapshots.
 * Counters and what is learned from packets (neighbours, FDB, sockets) are not
 * among them: they change with every ping.
 */
export function changedBetween(a: Snapshot, b: Snapshot): Set<NodeId | LinkId> {
  const out = new Set<NodeId | LinkId>();
  const before = new Map((a.nodes ?? []).map((n) => [n.id, n]));
  for (const n of b.nodes ?? []) {
    const was = before.get(n.id);
    if (!was || !same(configured(was), configured(n))) out.add(n.id);
    const links = new Map((was?.links ?? []).map((l) => [l.name, l]));
    for (const l of n.links ?? []) {
      if (!same(links.get(l.name), l)) out.add(linkId(n.id, l.name));
    }
  }
  return out;
}

function configured(n: Node): unknown {
  const rules = (n.firewall ?? []).map((c) => [
    c.table,
    c.name,
    c.policy,
    (c.rules ?? []).map((rule) => rule.text),
  ]);
  return [n.routes, n.rules, rules, n.sysctls];
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
