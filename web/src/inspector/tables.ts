import type { Key } from '../i18n/index.svelte';
import { isDefault, linkState, netnsOf, type LinkState } from '../snapshot';
import type { Netdev, Node } from '../wire';

/** One cell: plain text, a state with its sign, or a key of the dictionary. */
export type Cell = string | { state: LinkState };

export interface Table {
  title: Key;
  /** The command that shows the same on the node's machine. */
  command: string;
  columns: Key[];
  rows: Cell[][];
}

export interface ChainTable {
  name: string;
  policy: string;
  packets: number;
  command: string;
  rules: { text: string; packets: number; bytes: number }[];
}

/** The command as typed on the machine, for a namespace of it: ip and bridge take -n. */
export function onNode(node: Node, command: string): string {
  const netns = netnsOf(node.id);
  if (!netns) return command;
  const [tool, ...rest] = command.split(' ');
  if (tool === 'ip' || tool === 'bridge') return [tool, '-n', netns, ...rest].join(' ');
  return `ip netns exec ${netns} ${command}`;
}

const text = (v: string | number | undefined): string => (v === undefined ? '' : String(v));

/** The tables of a node, or what of them concerns one of its interfaces. Empty ones are left in: nothing is an answer too. */
export function tablesOf(node: Node, link?: Netdev): Table[] {
  const dev = link?.name;
  const on = (c: string): string => onNode(node, c);
  const concerns = (d: string | undefined): boolean => dev === undefined || d === dev;
  const links = (node.links ?? []).filter((l) => concerns(l.name));
  const tables: Table[] = [
    {
      title: 'inspect.links',
      command: on(dev ? `ip -d addr show dev ${dev}` : 'ip addr'),
      columns: ['col.name', 'col.kind', 'col.state', 'col.addresses', 'col.mac', 'col.mtu', 'col.attached'],
      rows: links.map((l) => [
        l.name,
        l.kind,
        { state: linkState(l) },
        (l.addresses ?? []).join('\n'),
        l.mac,
        text(l.mtu),
        [l.master, l.peer, l.parent, l.alias].filter(Boolean).join('\n'),
      ]),
    },
    {
      title: 'inspect.routes',
      command: on(dev ? `ip route show dev ${dev}` : 'ip route'),
      columns: ['col.dst', 'col.via', 'col.dev', 'col.src', 'col.scope', 'col.protocol', 'col.metric'],
      rows: (node.routes ?? [])
        .filter((r) => concerns(r.dev))
        .map((r) => [
          [r.type, isDefault(r.dst) ? 'default' : r.dst].filter(Boolean).join(' '),
          text(r.via),
          text(r.dev),
          text(r.src),
          text(r.scope),
          text(r.protocol),
          text(r.metric),
        ]),
    },
    {
      title: 'inspect.neighbours',
      command: on(dev ? `ip neigh show dev ${dev}` : 'ip neigh'),
      columns: ['col.ip', 'col.mac', 'col.dev', 'col.state'],
      rows: (node.neighbours ?? [])
        .filter((n) => concerns(n.dev))
        .map((n) => [n.ip, text(n.mac), n.dev, n.state]),
    },
    {
      title: 'inspect.fdb',
      command: on(dev ? `bridge fdb show dev ${dev}` : 'bridge fdb show'),
      columns: ['col.mac', 'col.dev', 'col.attached', 'col.dst', 'col.state'],
      rows: (node.fdb ?? [])
        .filter((f) => concerns(f.dev) || f.master === dev)
        .map((f) => [f.mac, f.dev, text(f.master), text(f.dst), f.state || 'learned']),
    },
  ];
  if (dev !== undefined) return tables;
  const rules = node.rules ?? [];
  return [
    ...tables,
    {
      title: 'inspect.rules',
      command: on('ip rule'),
      columns: ['col.priority', 'col.rule'],
      rows: rules.map((r) => [text(r.priority), r.text]),
    },
    {
      title: 'inspect.sockets',
      command: on('ss -lntua'),
      columns: ['col.kind', 'col.local', 'col.remote'],
      rows: (node.sockets ?? []).map((s) => [s.protocol, s.local, text(s.remote)]),
    },
    {
      title: 'inspect.sysctls',
      command: on('sysctl net'),
      columns: ['col.key', 'col.value'],
      rows: Object.entries(node.sysctls ?? {})
        .toSorted(([a], [b]) => a.localeCompare(b))
        .map(([k, v]) => [k, v]),
    },
  ];
}

export function chainsOf(node: Node): ChainTable[] {
  return (node.firewall ?? []).map((c) => ({
    name: [c.family, c.table, c.name].filter(Boolean).join(' '),
    policy: c.policy ?? '',
    packets: c.packets,
    command: onNode(node, chainCommand(c.tool, c.family, c.table, c.name)),
    rules: c.rules ?? [],
  }));
}

export function chainCommand(tool: string, family: string, table: string, name: string): string {
  if (tool === 'nft') return `nft list chain ${family} ${table} ${name}`;
  const program = family === 'ip6' ? tool.replace('iptables', 'ip6tables') : tool;
  return `${program} -t ${table} -vnL ${name}`;
}
