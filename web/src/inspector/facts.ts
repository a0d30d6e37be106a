import { t, type Key } from '../i18n/index.svelte';
import { cableId, linkId, linkState, splitLink } from '../snapshot';
import type { LinkId, Netdev, Node, Snapshot } from '../wire';
import { onNode, type Cell } from './tables';

/** One value with the command that shows it and what it is. */
export interface Fact {
  label: Key;
  what: Key;
  value: Cell;
  command: string;
}

const kinds = [
  ...(['veth', 'bridge', 'vxlan', 'macvlan', 'ipvlan', 'vlan', 'loopback', 'dummy'] as const),
  ...(['gre', 'gretap', 'ipip', 'sit', 'geneve', 'wireguard'] as const),
];

export function whatIs(link: Netdev): Key {
  if (link.kind === 'tun' || link.kind === 'tap') return 'what.kind.tun';
  const known = kinds.find((k) => k === link.kind.replace(/^ip6(?=gre)/, ''));
  return known ? `what.kind.${known}` : 'what.kind.other';
}

const modes = ['bridge', 'private', 'vepa', 'passthru', 'source', 'l2', 'l3', 'l3s'] as const;

function whatMode(l: Netdev): Key {
  const known = modes.find((m) => m === l.mode);
  return known ? `what.mode.${known}` : whatIs(l);
}

/** What a setting does; the same one of every interface is said the same. */
export function whatSetting(key: string): Key | undefined {
  const last = key.slice(key.lastIndexOf('.') + 1);
  const known = [
    'ip_forward',
    'forwarding',
    'rp_filter',
    'bridge-nf-call-iptables',
    'bridge-nf-call-ip6tables',
    'icmp_echo_ignore_all',
  ] as const;
  const found = known.find((k) => k === last);
  return found && `what.sysctl.${found}`;
}

/** What is worth knowing of an interface, each with its command. */
export function factsOf(node: Node, l: Netdev): Fact[] {
  const link = onNode(node, `ip -d link show dev ${l.name}`);
  const addr = onNode(node, `ip addr show dev ${l.name}`);
  const facts: (Fact | false)[] = [
    { label: 'col.kind', what: whatIs(l), value: l.kind, command: link },
    { label: 'col.state', what: 'what.state', value: { state: linkState(l) }, command: link },
    { label: 'col.addresses', what: 'what.addresses', value: (l.addresses ?? []).join('\n'), command: addr },
    { label: 'col.mac', what: 'what.mac', value: l.mac, command: link },
    { label: 'col.mtu', what: 'what.mtu', value: String(l.mtu), command: link },
    l.peer !== undefined && {
      label: 'col.peer',
      what: 'what.cable',
      value: { to: l.peer, text: t('inspect.end', splitLink(l.peer)) },
      command: link,
    },
    l.master !== undefined && {
      label: 'col.master',
      what: 'what.master',
      value: { to: linkId(node.id, l.master), text: l.master },
      command: onNode(node, `bridge link show dev ${l.name}`),
    },
    l.parent !== undefined && {
      label: 'col.parent',
      what: 'what.parent',
      value: l.parent.includes(':')
        ? { to: l.parent, text: t('inspect.end', splitLink(l.parent)) }
        : { to: linkId(node.id, l.parent), text: l.parent },
      command: link,
    },
    l.mode !== undefined && { label: 'col.mode', what: whatMode(l), value: l.mode, command: link },
    l.alias !== undefined && { label: 'col.alias', what: whatIs(l), value: l.alias, command: link },
    ...vxlanFacts(l, link),
    ...tunnelFacts(l, link),
    ...bridgeFacts(node, l, link),
  ];
  return facts.filter((f): f is Fact => f !== false && f.value !== '');
}

function vxlanFacts({ vxlan }: Netdev, command: string): Fact[] {
  if (!vxlan) return [];
  return [
    { label: 'col.vni', what: 'what.vni', value: String(vxlan.vni), command },
    { label: 'col.local', what: 'what.kind.vxlan', value: vxlan.local ?? '', command },
    {
      label: 'col.remote',
      what: 'what.kind.vxlan',
      value: vxlan.remote ? `${vxlan.remote} UDP ${vxlan.port}` : `UDP ${vxlan.port}`,
      command,
    },
    { label: 'col.learning', what: 'what.learning', value: onOff(vxlan.learning), command },
  ];
}

function tunnelFacts(l: Netdev, command: string): Fact[] {
  if (!l.tunnel) return [];
  const { local, remote, key } = l.tunnel;
  const vni = l.kind === 'geneve';
  return [
    { label: 'col.local', what: whatIs(l), value: local ?? '', command },
    { label: 'col.remote', what: whatIs(l), value: remote ?? '', command },
    {
      label: vni ? 'col.vni' : 'col.tunnelKey',
      what: vni ? 'what.vni' : 'what.tunnelKey',
      value: key ? String(key) : '',
      command,
    },
  ];
}

function bridgeFacts(node: Node, l: Netdev, command: string): Fact[] {
  if (!l.bridge) return [];
  const ports = (node.links ?? []).filter((one) => one.master === l.name).map((one) => one.name);
  return [
    {
      label: 'col.ports',
      what: 'what.kind.bridge',
      value: ports.join('\n'),
      command: onNode(node, `ip link show master ${l.name}`),
    },
    { label: 'col.stp', what: 'what.stp', value: onOff(l.bridge.stp), command },
    { label: 'col.vlans', what: 'what.vlans', value: onOff(l.bridge.vlan_filtering), command },
  ];
}

const onOff = (b: boolean): string => t(b ? 'value.on' : 'value.off');

export interface CableEnd {
  id: LinkId;
  node: Node;
  link: Netdev;
}

/** The ends of a cable that are still there. */
export function cableEnds(s: Snapshot, ids: [LinkId, LinkId]): CableEnd[] {
  return ids.flatMap((id) => {
    const at = splitLink(id);
    const node = (s.nodes ?? []).find((n) => n.id === at.node);
    const link = (node?.links ?? []).find((l) => l.name === at.name);
    return node && link ? [{ id, node, link }] : [];
  });
}

/** What is wrong with a cable, in words. */
export function cableFaults([a, b]: CableEnd[]): string[] {
  if (!a || !b) return [];
  return [
    ...[a, b].flatMap((e) => (e.link.up ? [] : [t('inspect.gives', { name: e.link.name, node: e.node.id })])),
    ...(a.link.mtu === b.link.mtu
      ? []
      : [t('inspect.mtuDiffers', { a: String(a.link.mtu), b: String(b.link.mtu) })]),
  ];
}

export const cableOf = (id: LinkId, l: Netdev): string | undefined => l.peer && cableId(id, l.peer);

export const whatNode = (kind: Node['kind']): Key => `what.${kind}`;
