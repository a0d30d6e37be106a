import { t, type Key } from '../i18n/index.svelte';
import {
  isDefault,
  isHidden,
  kindText,
  linkId,
  linkState,
  netnsOf,
  splitLink,
  type LinkState,
} from '../snapshot';
import type { FdbEntry, LinkId, Netdev, Node, NodeId } from '../wire';

/** One cell: plain text, a state with its sign, or something else that can be inspected. */
export type Cell = string | { state: LinkState } | { to: NodeId | LinkId; text: string };

export const cellText = (c: Cell): string =>
  typeof c === 'string' ? c : 'state' in c ? t(`link.${c.state}`) : c.text;

export interface Table {
  title: Key;
  /** What such a table is, in one sentence. */
  what: Key;
  /** The command that shows the same on the node's machine. */
  command: string;
  columns: Key[];
  rows: Cell[][];
  /** As many of the first columns say which row it is. */
  keyed: number;
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
  // Without a name it is reached through one of its processes.
  if (isHidden(node.id)) return `nsenter -t PID -n ${command}`;
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
  const to = (d: string | undefined): Cell =>
    d === undefined || d === dev ? text(d) : { to: linkId(node.id, d), text: d };
  const links = (node.links ?? []).filter((l) => concerns(l.name));
  const tables: Table[] = [
    {
      title: 'inspect.links',
      what: 'what.links',
      keyed: 1,
      command: on(dev ? `ip -d addr show dev ${dev}` : 'ip addr'),
      columns: ['col.name', 'col.kind', 'col.state', 'col.addresses', 'col.mac', 'col.mtu', 'col.attached'],
      rows: links.map((l) => [
        l.name,
        kindText(l),
        { state: linkState(l) },
        (l.addresses ?? []).join('\n'),
        l.mac,
        text(l.mtu),
        [l.master, l.peer, l.parent, l.alias].filter(Boolean).join('\n'),
      ]),
    },
    {
      title: 'inspect.routes',
      what: 'what.routes',
      keyed: 3,
      command: on(dev ? `ip route show dev ${dev}` : 'ip route'),
      columns: ['col.dst', 'col.via', 'col.dev', 'col.src', 'col.scope', 'col.protocol', 'col.metric'],
      rows: (node.routes ?? [])
        .filter((r) => concerns(r.dev))
        .map((r) => [
          [r.type, isDefault(r.dst) ? 'default' : r.dst].filter(Boolean).join(' '),
          text(r.via),
          to(r.dev),
          text(r.src),
          text(r.scope),
          text(r.protocol),
          text(r.metric),
        ]),
    },
    {
      title: 'inspect.neighbours',
      what: 'what.neighbours',
      keyed: 1,
      command: on(dev ? `ip neigh show dev ${dev}` : 'ip neigh'),
      columns: ['col.ip', 'col.mac', 'col.dev', 'col.state'],
      rows: (node.neighbours ?? [])
        .filter((n) => concerns(n.dev))
        .map((n) => [n.ip, text(n.mac), to(n.dev), n.state]),
    },
    {
      title: 'inspect.fdb',
      what: 'what.fdb',
      keyed: 2,
      command: on(dev ? `bridge fdb show dev ${dev}` : 'bridge fdb show'),
      columns: ['col.mac', 'col.dev', 'col.attached', 'col.leads', 'col.state'],
      rows: (node.fdb ?? [])
        .filter((f) => concerns(f.dev) || f.master === dev)
        .map((f) => [f.mac, f.dev, text(f.master), leads(node, f), f.state || 'learned']),
    },
  ];
  if (dev !== undefined) return tables;
  const rules = node.rules ?? [];
  return [
    ...tables,
    {
      title: 'inspect.rules',
      what: 'what.rules',
      keyed: 2,
      command: on('ip rule'),
      columns: ['col.priority', 'col.rule'],
      rows: rules.map((r) => [text(r.priority), r.text]),
    },
    {
      title: 'inspect.sockets',
      what: 'what.sockets',
      keyed: 3,
      command: on('ss -lntua'),
      columns: ['col.kind', 'col.local', 'col.remote'],
      rows: (node.sockets ?? []).map((s) => [s.protocol, s.local, text(s.remote)]),
    },
    {
      title: 'inspect.sysctls',
      what: 'what.sysctls',
      keyed: 1,
      command: on('sysctl net'),
      columns: ['col.key', 'col.value'],
      rows: Object.entries(node.sysctls ?? {})
        .toSorted(([a], [b]) => a.localeCompare(b))
        .map(([k, v]) => [k, v]),
    },
  ];
}

/** Where a frame for the address of an entry goes, in words. */
function leads(node: Node, f: FdbEntry): Cell {
  const port = (node.links ?? []).find((l) => l.name === f.dev);
  if (f.dst) return t(/^(00:){5}00$/.test(f.mac) ? 'fdb.flood' : 'fdb.tunnel', { dst: f.dst });
  if (/^(33:33|01:00:5e)/.test(f.mac)) return t('fdb.group', { name: f.dev });
  if (port?.mac === f.mac || f.state === 'permanent') return t('fdb.own', { name: f.dev });
  if (!port?.peer) return t('fdb.out', { port: f.dev });
  return { to: port.peer, text: t('fdb.port', { port: f.dev, ...splitLink(port.peer) }) };
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
