import { t } from '../i18n/index.svelte';
import {
  isHidden,
  kindText,
  linkState,
  machineOf,
  netnsOf,
  shownAddresses,
  splitLink,
  tunnelText,
} from '../snapshot';
import type { Node, Snapshot } from '../wire';
import { masquerades, published } from './nat';
import { tunnels, underlay } from './tunnels';
import { World, type End } from './world';

/** A sentence with what belongs to it, for a list in a list. */
export interface Sentence {
  id: string;
  text: string;
  parts: Sentence[];
}

/** All that the picture shows, in words. */
export function describe(snapshot: Snapshot): Sentence[] {
  const w = new World(snapshot);
  const machines = w.machines.map((m): Sentence => {
    const inside = m.namespaces.map((n) => ({ id: n.id, text: netnsText(n), parts: nodeParts(n, w) }));
    return { id: m.node.id, text: machineText(m.node), parts: [...nodeParts(m.node, w), ...inside] };
  });
  return [...machines, ...tunnelParts(w)];
}

function machineText(n: Node): string {
  return t('text.node', { name: n.id, kind: t(`node.${n.kind}`) });
}

function netnsText(n: Node): string {
  const name = netnsOf(n.id);
  return isHidden(n.id)
    ? t('text.hidden', { inode: name.replace('net-', '') })
    : t('text.node', { name, kind: t('node.netns') });
}

function nodeParts(n: Node, w: World): Sentence[] {
  const dropping = (n.firewall ?? []).filter((c) => c.policy?.toUpperCase() === 'DROP');
  const facts = [
    ...(n.sysctls?.['net.ipv4.ip_forward'] === '1' ? [t('text.forwards')] : []),
    ...new Set(dropping.map((c) => t('text.drops', { chain: c.name }))),
    ...masquerades(n, w).map((m) =>
      t(m.to ? 'text.snat' : 'text.masquerade', {
        name: m.on.link.name,
        source: m.source ?? t('text.anyone'),
        ...(m.to && { to: m.to }),
      }),
    ),
    ...published(n, w).map((p) => {
      const port = [p.protocol, p.port].filter(Boolean).join(' ');
      const to = p.toPort ? `${p.to}:${p.toPort}` : p.to;
      const node = p.target?.node.id;
      return node === undefined
        ? t('text.published', { port, to, name: p.on.link.name })
        : t('text.publishedIn', { port, to, node, name: p.on.link.name });
    }),
  ];
  return [
    ...w.ends(n).map((e) => ({ id: e.id, text: linkText(e, w), parts: [] })),
    ...facts.map((text, i) => ({ id: `${n.id} fact ${i}`, text, parts: [] })),
  ];
}

/** "veth1 (veth): up; 10.0.0.1/24; cable to veth2 on host1/kon; port of br0". */
function linkText(e: End, w: World): string {
  const { link } = e;
  const far = link.peer ? splitLink(link.peer) : undefined;
  const lower = link.kind === 'veth' ? undefined : underlay(e, w);
  const ports = w.ends(e.node).filter((one) => link.kind === 'bridge' && one.link.master === link.name);
  const parts = [
    t(`link.${linkState(link)}`),
    ...shownAddresses(link),
    ...(link.vxlan ? [`VNI ${link.vxlan.vni}`] : []),
    ...(link.tunnel ? [tunnelText(link.tunnel)] : []),
    ...(link.kind !== 'loopback' && link.mtu !== 1500 ? [`MTU ${link.mtu}`] : []),
    ...(far ? [t('link.cable', far)] : []),
    ...(link.master ? [t('link.master', { master: link.master })] : []),
    ...(lower ? [t('text.carriedBy', { name: lower.link.name, node: machineOf(lower.node.id) })] : []),
    ...(ports.length ? [t('text.ports', { ports: ports.map((p) => p.link.name).join(', ') })] : []),
  ];
  return `${link.name} (${kindText(link)}): ${parts.join('; ')}`;
}

function tunnelParts(w: World): Sentence[] {
  return tunnels(w).map(({ a, b, label }) => ({
    id: `${a.id} ${b.id}`,
    text: t('text.tunnel', {
      label,
      a: a.link.name,
      an: a.node.id,
      b: b.link.name,
      bn: b.node.id,
    }),
    parts: [],
  }));
}
