import { linkId, machineOf, netnsOf } from '../snapshot';
import type { LinkId, Netdev, Node, NodeId, Route, Snapshot } from '../wire';

/**
 * What a person has set up in a machine and its namespaces, as single
 * statements: "address host1/kon:veth2 172.16.0.1/24". What the kernel adds by
 * itself (routes of an address, link-local addresses, what was learned from
 * packets) is left out: it comes and goes with what is here.
 */
export type Facts = Map<Fact, string>;

/** The words of a statement, separated by blanks; see the functions below for what they are. */
export type Fact = string;

/** What makes an interface the one that it is. */
export interface Make {
  kind: string;
  peer?: LinkId;
  parent?: string;
  mode?: string;
  vxlan?: Netdev['vxlan'];
}

export function facts(s: Snapshot | null, machine: NodeId): Facts {
  const out: Facts = new Map();
  for (const n of s?.nodes ?? []) if (machineOf(n.id) === machine) tell(n, out);
  return out;
}

function tell(n: Node, out: Facts): void {
  if (netnsOf(n.id)) out.set(`node ${n.id}`, '');
  for (const l of n.links ?? []) {
    const id = linkId(n.id, l.name);
    const make: Make = { kind: l.kind };
    if (l.peer) make.peer = l.peer;
    if (l.parent) make.parent = l.parent;
    if (l.mode) make.mode = l.mode;
    if (l.vxlan) make.vxlan = l.vxlan;
    out.set(`link ${id}`, JSON.stringify(make));
    out.set(`state ${id}`, l.up ? 'up' : 'down');
    if (l.kind === 'loopback') continue;
    if (l.kind !== 'bridge') out.set(`mac ${id}`, l.mac); // a bridge takes that of a port
    out.set(`mtu ${id}`, String(l.mtu));
    if (l.master) out.set(`master ${id}`, l.master);
    for (const a of l.addresses ?? []) if (!a.startsWith('fe80:')) out.set(`address ${id} ${a}`, '');
  }
  for (const r of n.routes ?? []) {
    if (r.protocol !== 'kernel') out.set(`route ${n.id} ${routeWords(r)}`, r.dev ?? '');
  }
  for (const [key, value] of Object.entries(n.sysctls ?? {})) {
    if (!ofItself.test(key)) out.set(`sysctl ${n.id} ${key}`, value);
  }
  for (const c of n.firewall ?? []) {
    if (c.tool === 'nft') continue;
    const program =
      (c.family === 'ip6' ? 'ip6tables' : 'iptables') + (c.tool.endsWith('legacy') ? '-legacy' : '');
    const chain = `${n.id} ${program} ${c.table} ${c.name}`;
    // A table is made, empty, by the first who looks: that changes nothing.
    if (c.policy && c.policy !== 'ACCEPT') out.set(`policy ${chain}`, c.policy);
    const rules = (c.rules ?? []).map((r) => r.text.replace(`-A ${c.name} `, ''));
    if (rules.length > 0) out.set(`rules ${chain}`, JSON.stringify(rules));
  }
}

/** Settings that come with an interface, or follow ip_forward. */
const ofItself = /^net\.ipv4\.conf\./;

/** The route as `ip route add` takes it; one of IPv6 begins with "-6", which stands before "route". */
export function routeWords(r: Route): string {
  const words = [
    r.dst.includes(':') ? '-6' : '',
    r.type ?? '',
    /^(0\.0\.0\.0|::)\/0$/.test(r.dst) ? 'default' : r.dst,
  ];
  if (r.via) words.push('via', r.via);
  if (r.dev) words.push('dev', r.dev);
  if (r.src) words.push('src', r.src);
  if (r.scope && r.scope !== 'global' && !(r.scope === 'link' && r.dev && !r.via))
    words.push('scope', r.scope);
  if (r.metric) words.push('metric', String(r.metric));
  if (r.table) words.push('table', String(r.table));
  if (r.protocol && r.protocol !== 'boot') words.push('proto', r.protocol);
  if (r.onlink) words.push('onlink');
  return words.filter(Boolean).join(' ');
}

/** One statement that differs; undefined where it was not there. */
export interface Change {
  fact: Fact;
  was?: string;
  is?: string;
}

export function changesBetween(before: Facts, after: Facts): Change[] {
  const out: Change[] = [];
  for (const [fact, was] of before) {
    const is = after.get(fact);
    if (is !== was) out.push(is === undefined ? { fact, was } : { fact, was, is });
  }
  for (const [fact, is] of after) if (!before.has(fact)) out.push({ fact, is });
  return out;
}
