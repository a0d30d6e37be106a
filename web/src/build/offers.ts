import { endsOf, linkId, machineOf, netnsOf, shownAddresses, splitLink } from '../snapshot';
import type { LinkId, Node, NodeId, Snapshot } from '../wire';
import * as act from './actions';
import type { Action, Words } from './actions';
import { isNameless } from './commands';
import * as forms from './forms';
import type { Form, Plug } from './forms';
import { removableRoutes } from './forms';
import type { Wishes } from './propose';

/** One thing that can be done with what was chosen: at once, or by a form. */
export type Offer = { words: Words; group: number; danger?: boolean } & (
  { action: Action; form?: never } | { form: Form; action?: never }
);

/** All that fits a machine, a namespace or an interface, in groups. */
export function offersFor(s: Snapshot, id: NodeId | LinkId, w: Wishes): Offer[] {
  const ends = endsOf(id);
  if (ends) return ofCable(s, ends);
  const { node: nodeId, name } = splitLink(id);
  const node = act.findNode(s, nodeId);
  if (!node) return [];
  return name ? ofLink(s, id, w) : ofNode(s, node, w);
}

const byForm = (words: Words, form: Form, group: number): Offer => ({ words, form, group });
/** What can't be wholly undone is asked once more. */
const now = (words: Words, action: Action, group: number, danger = false): Offer => ({
  words,
  group,
  ...(danger && { danger }),
  ...(action.losses.length > 0 ? { form: forms.confirmation(action) } : { action }),
});

/** Where a cable from a plug can lead: every namespace of the machine, and every bridge. */
export const plugsFor =
  (from: Plug) =>
  (s: Snapshot): Plug[] =>
    (s.nodes ?? [])
      .filter((n) => machineOf(n.id) === machineOf(from.node) && !isNameless(n.id))
      .flatMap((n): Plug[] => [
        { node: n.id },
        ...(n.links ?? []).filter((l) => l.kind === 'bridge').map((l) => ({ node: n.id, bridge: l.name })),
      ])
      .filter((p) => p.node !== from.node || p.bridge !== from.bridge)
      .toSorted((a, b) => Number(a.node === from.node) - Number(b.node === from.node));

function ofNode(s: Snapshot, node: Node, w: Wishes): Offer[] {
  if (node.kind === 'switch' || isNameless(node.id)) return [];
  const { id } = node;
  const offers: Offer[] = [];
  if (!netnsOf(id)) offers.push(byForm({ key: 'build.menu.container' }, forms.container(id, w), 0));
  offers.push(byForm({ key: 'build.menu.bridge' }, forms.bridge(id, w), 0));
  offers.push(
    byForm({ key: 'build.menu.connect' }, forms.connect({ node: id }, plugsFor({ node: id }), w), 0),
  );
  offers.push(byForm({ key: 'build.menu.ends' }, forms.cable({ node: id }, { node: id }, w), 0));
  const lo = node.links?.find((l) => l.kind === 'loopback');
  if (lo && !lo.up)
    offers.push(
      now({ key: 'build.menu.up', params: { name: 'lo' } }, act.setState(linkId(id, 'lo'), true), 1),
    );
  offers.push(byForm({ key: 'build.menu.route' }, forms.route(id, w), 1));
  if (removableRoutes(s, id).length > 0)
    offers.push(byForm({ key: 'build.menu.deleteRoute' }, forms.removeRoute(id), 1));
  const setting = (key: string, on: Words, off: Words): void => {
    const set = node.sysctls?.[key] === '1';
    offers.push(now(set ? off : on, act.setSetting(id, key, set ? '0' : '1'), 2));
  };
  setting('net.ipv4.ip_forward', { key: 'build.menu.forward' }, { key: 'build.menu.noForward' });
  if (node.links?.some((l) => l.kind === 'bridge'))
    setting(
      'net.bridge.bridge-nf-call-iptables',
      { key: 'build.menu.bridgeFilter' },
      { key: 'build.menu.noBridgeFilter' },
    );
  if (['host', 'router'].includes(node.kind)) {
    offers.push(byForm({ key: 'build.menu.masquerade' }, forms.masquerade(id), 3));
    offers.push(byForm({ key: 'build.menu.publish' }, forms.publish(id), 3));
    const chain = node.firewall?.find(
      (c) => c.table === 'filter' && c.name === 'FORWARD' && c.family !== 'ip6',
    );
    const drops = chain?.policy === 'DROP';
    offers.push(
      now(
        { key: drops ? 'build.menu.accept' : 'build.menu.drop' },
        act.setPolicy(id, drops ? 'ACCEPT' : 'DROP'),
        3,
      ),
    );
  }
  if (netnsOf(id))
    offers.push(now({ key: 'build.menu.deleteContainer' }, act.deleteContainer(s, id), 4, true));
  return offers;
}

/** What one does with a cable one does with an end of it. */
function ofCable(s: Snapshot, ends: [LinkId, LinkId]): Offer[] {
  const offers = ends.flatMap((id): Offer[] => {
    const link = act.findLink(s, id);
    if (link?.kind !== 'veth') return [];
    return [
      now(
        { key: link.up ? 'build.menu.pull' : 'build.menu.plug', params: { name: id } },
        act.setState(id, !link.up),
        0,
      ),
    ];
  });
  const near = ends.find((id) => !netnsOf(splitLink(id).node)) ?? ends[0];
  const link = act.findLink(s, near);
  if (link?.kind === 'veth' && act.findNode(s, splitLink(near).node)?.kind !== 'switch')
    offers.push(now({ key: 'build.menu.delete', params: { name: near } }, act.deleteLink(s, near), 4, true));
  return offers;
}

function ofLink(s: Snapshot, id: LinkId, w: Wishes): Offer[] {
  const link = act.findLink(s, id);
  const { node, name } = splitLink(id);
  if (!link) return [];
  const offers: Offer[] = [];
  const own = act.findNode(s, node);
  const state = (): Words => {
    if (link.kind !== 'veth') return { key: link.up ? 'build.menu.down' : 'build.menu.up', params: { name } };
    return { key: link.up ? 'build.menu.pull' : 'build.menu.plug', params: { name } };
  };
  offers.push(now(state(), act.setState(id, !link.up), 0));
  if (own?.kind === 'switch') return offers;
  if (link.kind === 'bridge') {
    const from = { node, bridge: name };
    offers.push(byForm({ key: 'build.menu.connect' }, forms.connect(from, plugsFor(from), w), 1));
  }
  const bridges = forms.bridgesFor(s, id);
  const [only, ...others] = bridges;
  if (only && others.length === 0)
    offers.push(now({ key: 'build.menu.attachTo', params: { bridge: only } }, act.attach(id, only), 1));
  else if (only) offers.push(byForm({ key: 'build.menu.attach' }, forms.attach(id), 1));
  if (link.master)
    offers.push(now({ key: 'build.menu.detach', params: { bridge: link.master } }, act.detach(id), 1));
  if (forms.homesFor(s, id).length > 0) offers.push(byForm({ key: 'build.menu.move' }, forms.move(id), 1));
  if (link.kind !== 'loopback') {
    offers.push(byForm({ key: 'build.menu.address' }, forms.address(id, w), 2));
    for (const a of shownAddresses(link))
      offers.push(
        now({ key: 'build.menu.deleteAddress', params: { address: a } }, act.changeAddress(id, 'del', a), 2),
      );
    offers.push(byForm({ key: 'build.menu.mtu' }, forms.mtu(id), 3));
    offers.push(now({ key: 'build.menu.delete', params: { name } }, act.deleteLink(s, id), 4, true));
  }
  return offers;
}
