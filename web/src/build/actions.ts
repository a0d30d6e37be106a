import type { Key, Params } from '../i18n/index.svelte';
import { linkId, machineOf, netnsOf, splitLink } from '../snapshot';
import type { Command, LinkId, Netdev, Node, NodeId, Snapshot } from '../wire';
import { netnsWord, on, routeLine } from './commands';

/** A text by its key. */
export interface Words {
  key: Key;
  params?: Params;
}

/** One thing that is done by hand: what it is called, and the commands that it is. */
export interface Action {
  title: Words;
  commands: Command[];
  /** What undoing it will not bring back. */
  losses: Words[];
}

const action = (key: Key, params: Params, commands: Command[], losses: Words[] = []): Action => ({
  title: { key, params },
  commands,
  losses,
});

export const findNode = (s: Snapshot, id: NodeId): Node | undefined => s.nodes?.find((n) => n.id === id);

export function findLink(s: Snapshot, id: LinkId): Netdev | undefined {
  const { node, name } = splitLink(id);
  return findNode(s, node)?.links?.find((l) => l.name === name);
}

/** A cable that the lab laid between two machines. */
export const isWire = (id: LinkId, l: Netdev): boolean =>
  l.peer !== undefined && machineOf(splitLink(l.peer).node) !== machineOf(splitLink(id).node);

export const addContainer = (machine: NodeId, name: string): Action =>
  action('build.did.container', { name, node: machine }, [on(machine, `ip netns add ${name}`)]);

export function deleteContainer(s: Snapshot, id: NodeId): Action {
  const node = findNode(s, id);
  const losses: Words[] = [];
  if (node?.sockets?.length) losses.push({ key: 'build.loss.processes', params: { n: node.sockets.length } });
  for (const l of node?.links ?? []) losses.push(...lossesOf(linkId(id, l.name), l));
  return action(
    'build.did.deleteContainer',
    { name: netnsOf(id) },
    [on(machineOf(id), `ip netns del ${netnsOf(id)}`)],
    losses,
  );
}

export const addBridge = (node: NodeId, name: string, up: boolean): Action =>
  action('build.did.bridge', { name, node }, [
    on(node, `ip link add ${name} type bridge`),
    ...(up ? [on(node, `ip link set ${name} up`)] : []),
  ]);

export function deleteLink(s: Snapshot, id: LinkId): Action {
  const { node, name } = splitLink(id);
  const link = findLink(s, id);
  return action(
    'build.did.delete',
    { name, node },
    [on(node, `ip link del ${name}`)],
    link ? lossesOf(id, link) : [],
  );
}

/** What of an interface can't be made again by hand. */
function lossesOf(id: LinkId, l: Netdev): Words[] {
  if (l.kind === 'loopback') return [];
  if (isWire(id, l)) return [{ key: 'build.loss.wire', params: { name: l.name } }];
  if (['veth', 'bridge', 'vxlan'].includes(l.kind)) return [];
  if (l.kind === 'macvlan' && !l.parent?.includes(':')) return [];
  return [{ key: 'build.loss.kind', params: { name: l.name, kind: l.kind } }];
}

/** One end of a new cable. */
export interface End {
  node: NodeId;
  name: string;
  bridge?: string;
}

/** A veth pair between two namespaces of one machine, each end plugged into a bridge where that is wanted. */
export function cable(a: End, b: End, up: boolean): Action {
  // The end that stays on the machine comes first, as in every tutorial.
  const [near, far] = netnsOf(a.node) && !netnsOf(b.node) ? [b, a] : [a, b];
  const at = near.node === far.node ? '' : ` netns ${netnsWord(far.node)}`;
  const commands = [on(near.node, `ip link add ${near.name} type veth peer name ${far.name}${at}`)];
  for (const end of [near, far]) {
    if (end.bridge) commands.push(on(end.node, `ip link set ${end.name} master ${end.bridge}`));
  }
  if (up) for (const end of [near, far]) commands.push(on(end.node, `ip link set ${end.name} up`));
  return action(
    'build.did.cable',
    { a: linkId(near.node, near.name), b: linkId(far.node, far.name) },
    commands,
  );
}

export function attach(id: LinkId, bridge: string): Action {
  const { node, name } = splitLink(id);
  return action('build.did.attach', { name, bridge }, [on(node, `ip link set ${name} master ${bridge}`)]);
}

export function detach(id: LinkId): Action {
  const { node, name } = splitLink(id);
  return action('build.did.detach', { name }, [on(node, `ip link set ${name} nomaster`)]);
}

export function moveTo(id: LinkId, to: NodeId): Action {
  const { node, name } = splitLink(id);
  return action('build.did.move', { name, node: to }, [
    on(node, `ip link set ${name} netns ${netnsWord(to)}`),
  ]);
}

export function setState(id: LinkId, up: boolean): Action {
  const { node, name } = splitLink(id);
  return action(up ? 'build.did.up' : 'build.did.down', { name, node }, [
    on(node, `ip link set ${name} ${up ? 'up' : 'down'}`),
  ]);
}

export function changeAddress(id: LinkId, verb: 'add' | 'del', address: string): Action {
  const { node, name } = splitLink(id);
  return action(verb === 'add' ? 'build.did.address' : 'build.did.deleteAddress', { name, node, address }, [
    on(node, `ip addr ${verb} ${address} dev ${name}`),
  ]);
}

/** `words` as `ip route` takes them, "-6" first for IPv6. */
export const changeRoute = (node: NodeId, verb: 'add' | 'del', words: string): Action =>
  action(
    verb === 'add' ? 'build.did.route' : 'build.did.deleteRoute',
    { node, route: words.replace(/^-6 /, '') },
    [on(node, routeLine(verb, words))],
  );

export function setMtu(id: LinkId, mtu: number): Action {
  const { node, name } = splitLink(id);
  return action('build.did.mtu', { name, mtu: String(mtu) }, [on(node, `ip link set ${name} mtu ${mtu}`)]);
}

/** A setting of the kernel's, for one namespace. */
export const setSetting = (node: NodeId, key: string, value: string): Action =>
  action('build.did.setting', { node, key, value }, [on(node, `sysctl -w ${key}=${value}`)]);

/** Packets of `source` leave with the machine's own address, by whatever leads out. */
export const masquerade = (
  node: NodeId,
  source: string,
  out: { by: string } | { notBy: string } | null,
): Action =>
  action('build.did.masquerade', { node, source }, [
    on(
      node,
      [
        `iptables -t nat -A POSTROUTING -s ${source}`,
        ...(out ? ['by' in out ? `-o ${out.by}` : `! -o ${out.notBy}`] : []),
        '-j MASQUERADE',
      ].join(' '),
    ),
  ]);

/** A port of the machine, at one of its addresses or at all, that leads to one inside. */
export interface Published {
  protocol: 'tcp' | 'udp';
  at: string;
  port: number;
  to: string;
  toPort: number;
}

export function publish(node: NodeId, p: Published): Action {
  const to = `${p.to}:${p.toPort}`;
  const at = p.at ? `-d ${p.at} ` : '';
  return action('build.did.publish', { node, port: String(p.port), to }, [
    on(
      node,
      `iptables -t nat -A PREROUTING ${at}-p ${p.protocol} --dport ${p.port} -j DNAT --to-destination ${to}`,
    ),
  ]);
}

export const setPolicy = (node: NodeId, policy: 'ACCEPT' | 'DROP'): Action =>
  action('build.did.policy', { node, policy }, [on(node, `iptables -P FORWARD ${policy}`)]);
