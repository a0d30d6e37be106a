import { linkId, machineOf, netnsOf, splitLink } from '../snapshot';
import type { LinkId, NodeId, Snapshot } from '../wire';
import * as act from './actions';
import type { Action, Words } from './actions';
import { networkOf, parseAddress, parsePrefix, showPrefix, spokenFor, width } from './address';
import { routeWords } from './facts';
import * as propose from './propose';
import type { Wishes } from './propose';

export type Values = Record<string, string>;

export interface Field {
  name: string;
  label: Words;
  kind: 'text' | 'number' | 'choice' | 'check';
  choices?: { value: string; text: string }[];
  /** What may be meant; the reader may write something else. */
  proposals?: string[];
  /** An empty one is an answer, too. */
  optional?: boolean;
}

/** What the values of a form mean in the world as it is. */
export interface Meaning {
  action: Action | null;
  /** What is wrong with a field; nothing can be done before it is right. */
  faults: Partial<Record<string, Words>>;
  /** What the reader may want to know before it is done. */
  advice?: Words;
}

export interface Form {
  title: Words;
  fields(s: Snapshot, v: Values): Field[];
  start(s: Snapshot): Values;
  /** Other values that follow from one that was chosen. */
  follow?(s: Snapshot, changed: string, v: Values): Values;
  read(s: Snapshot, v: Values): Meaning;
}

const meaning = (faults: Meaning['faults'], make: () => Action, advice?: Words): Meaning => {
  const wrong = Object.values(faults).some((f) => f !== undefined);
  return { action: wrong ? null : make(), faults, ...(advice && { advice }) };
};

/** Something that needs no words, and is asked once more since it can't be wholly undone. */
export const confirmation = (action: Action): Form => ({
  title: action.title,
  fields: () => [],
  start: () => ({}),
  read: () => ({ action, faults: {} }),
});

const words = [
  'dev',
  'name',
  'type',
  'address',
  'mtu',
  'up',
  'down',
  'master',
  'nomaster',
  'netns',
  'peer',
  'all',
];

function nameFault(name: string, taken: string[], most: number): Words | undefined {
  if (!name) return { key: 'build.fault.empty' };
  if (!/^[A-Za-z0-9_@][A-Za-z0-9._@-]*$/.test(name)) return { key: 'build.fault.name' };
  if (name.length > most) return { key: 'build.fault.long', params: { n: most } };
  if (words.includes(name)) return { key: 'build.fault.word', params: { name } };
  if (taken.includes(name)) return { key: 'build.fault.taken', params: { name } };
  return undefined;
}
const linkFault = (name: string, taken: string[]): Words | undefined => nameFault(name, taken, 15);

const choice = (value: string): { value: string; text: string } => ({ value, text: value });

/** The machines on which something can be built. */
export const machines = (s: Snapshot): NodeId[] =>
  (s.nodes ?? []).filter((n) => n.kind !== 'netns' && n.kind !== 'switch').map((n) => n.id);

export function container(machine: NodeId, w: Wishes): Form {
  return {
    title: { key: 'build.container' },
    fields: (s) => [
      {
        name: 'machine',
        label: { key: 'build.field.machine' },
        kind: 'choice',
        choices: machines(s).map(choice),
      },
      { name: 'name', label: { key: 'build.field.name' }, kind: 'text' },
    ],
    start: (s) => ({ machine, name: propose.containerName(s, machine, w) }),
    follow: (s, changed, v) =>
      changed === 'machine' ? { ...v, name: propose.containerName(s, v.machine ?? '', w) } : v,
    read(s, { machine = '', name = '' }) {
      const faults = { name: nameFault(name, propose.namesOn(s, machine), 64) };
      return meaning(faults, () => act.addContainer(machine, name));
    },
  };
}

export function bridge(node: NodeId, w: Wishes): Form {
  return {
    title: { key: 'build.bridge' },
    fields: (s) => [
      {
        name: 'node',
        label: { key: 'build.field.where' },
        kind: 'choice',
        choices: (s.nodes ?? []).filter((n) => n.kind !== 'switch').map((n) => choice(n.id)),
      },
      { name: 'name', label: { key: 'build.field.name' }, kind: 'text' },
      { name: 'up', label: { key: 'build.field.up' }, kind: 'check' },
    ],
    start: (s) => ({ node, name: propose.bridgeName(s, node, w), up: w.up ? 'yes' : '' }),
    follow: (s, changed, v) =>
      changed === 'node' ? { ...v, name: propose.bridgeName(s, v.node ?? '', w) } : v,
    read(s, { node = '', name = '', up }) {
      const faults = { name: linkFault(name, propose.linksIn(s, node)) };
      return meaning(faults, () => act.addBridge(node, name, up === 'yes'));
    },
  };
}

/** What a cable is drawn from or to: a namespace, or a bridge in it. */
export interface Plug {
  node: NodeId;
  bridge?: string;
}

const plugName = (p: Plug): string => (p.bridge === undefined ? p.node : linkId(p.node, p.bridge));

export function cable(a: Plug, b: Plug, w: Wishes): Form {
  return {
    title: { key: 'build.cable.between', params: { a: plugName(a), b: plugName(b) } },
    fields: () => [
      { name: 'a', label: { key: 'build.field.end', params: { node: a.node } }, kind: 'text' },
      { name: 'b', label: { key: 'build.field.end', params: { node: b.node } }, kind: 'text' },
      { name: 'up', label: { key: 'build.field.bothUp' }, kind: 'check' },
    ],
    start(s) {
      const [x, y] = propose.cableNames(s, a.node, b.node, w);
      return { a: x, b: y, up: w.up ? 'yes' : '' };
    },
    read(s, v) {
      const [x = '', y = ''] = [v.a, v.b];
      const here = propose.linksIn(s, b.node);
      const faults = {
        a: linkFault(x, propose.linksIn(s, a.node)),
        b: linkFault(y, a.node === b.node ? [...here, x] : here),
      };
      const end = (p: Plug, name: string): act.End => ({ ...p, name });
      return meaning(faults, () => act.cable(end(a, x), end(b, y), v.up === 'yes'));
    },
  };
}

/** Chooses the other end of a cable, for who does not drag. */
export function connect(from: Plug, targets: (s: Snapshot) => Plug[], w: Wishes): Form {
  const find = (s: Snapshot, name: string): Plug =>
    targets(s).find((p) => plugName(p) === name) ?? targets(s)[0] ?? from;
  return {
    title: { key: 'build.connect.from', params: { name: plugName(from) } },
    fields: (s, v) => [
      {
        name: 'to',
        label: { key: 'build.field.to' },
        kind: 'choice',
        choices: targets(s).map((p) => choice(plugName(p))),
      },
      ...cable(from, find(s, v.to ?? ''), w).fields(s, v),
    ],
    start(s) {
      const to = find(s, '');
      return { to: plugName(to), ...cable(from, to, w).start(s) };
    },
    follow: (s, changed, v) =>
      changed === 'to'
        ? { ...cable(from, find(s, v.to ?? ''), w).start(s), to: v.to ?? '', up: v.up ?? '' }
        : v,
    read: (s, v) => cable(from, find(s, v.to ?? ''), w).read(s, v),
  };
}

export function address(link: LinkId, w: Wishes): Form {
  return {
    title: { key: 'build.address.to', params: { name: splitLink(link).name } },
    fields: (s) => [
      {
        name: 'address',
        label: { key: 'build.field.address' },
        kind: 'text',
        proposals: propose.addressesFor(s, link, w),
      },
    ],
    start: (s) => ({ address: propose.addressesFor(s, link, w)[0] ?? '' }),
    read(s, { address = '' }) {
      const p = parsePrefix(address);
      const have = act.findLink(s, link)?.addresses ?? [];
      const by = p && spokenFor(p);
      const fault = (): Words | undefined => {
        if (!address) return { key: 'build.fault.empty' };
        if (!p) return { key: 'build.fault.address' };
        if (have.includes(showPrefix(p))) return { key: 'build.fault.taken', params: { name: address } };
        return undefined;
      };
      const advice = (): Words | undefined => {
        if (!p) return undefined;
        if (by) return { key: `build.advice.${by}`, params: { network: showPrefix(networkOf(p)) } };
        if (!address.includes('/')) return { key: 'build.advice.host', params: { bits: width(p.family) } };
        const owner = ownerOf(s, p.value, p.family, link);
        return owner ? { key: 'build.advice.owned', params: { name: owner } } : undefined;
      };
      return meaning({ address: fault() }, () => act.changeAddress(link, 'add', address), advice());
    },
  };
}

/** Who else has an address already. */
function ownerOf(s: Snapshot, value: bigint, family: number, but: LinkId): string | undefined {
  for (const n of s.nodes ?? []) {
    for (const l of n.links ?? []) {
      if (l.kind === 'loopback' || linkId(n.id, l.name) === but) continue;
      const same = (l.addresses ?? []).some((a) => {
        const p = parsePrefix(a);
        return p?.value === value && p.family === family;
      });
      if (same) return linkId(n.id, l.name);
    }
  }
  return undefined;
}

export function route(node: NodeId, w: Wishes): Form {
  const standing = (s: Snapshot): string[] => (act.findNode(s, node)?.routes ?? []).map(routeWords);
  return {
    title: { key: 'build.route.on', params: { node } },
    fields: (s) => [
      {
        name: 'to',
        label: { key: 'build.field.dst' },
        kind: 'text',
        proposals: ['default', ...networksElsewhere(s, node)],
      },
      {
        name: 'via',
        label: { key: 'build.field.via' },
        kind: 'text',
        optional: true,
        proposals: propose.gatewaysFor(s, node),
      },
      {
        name: 'dev',
        label: { key: 'build.field.dev' },
        kind: 'choice',
        optional: true,
        choices: [
          { value: '', text: '—' },
          ...propose
            .linksIn(s, node)
            .filter((l) => l !== 'lo')
            .map(choice),
        ],
      },
    ],
    start(s) {
      const links = propose.linksIn(s, node);
      const wish = w.routes.find(
        (r) =>
          r.node === node &&
          (!r.dev || links.includes(r.dev)) &&
          !standing(s).some((have) => same(have, r.to, r.via)),
      );
      if (wish) return { to: wish.to, via: wish.via, dev: wish.dev };
      const hasDefault = standing(s).some((r) => r.startsWith('default'));
      return { to: hasDefault ? '' : 'default', via: propose.gatewaysFor(s, node)[0] ?? '', dev: '' };
    },
    read(s, { to = '', via = '', dev = '' }) {
      const [dst, gateway] = [parsePrefix(to), parseAddress(via)];
      const family = to === 'default' ? (gateway?.family ?? 4) : dst?.family;
      const network = dst && networkOf(dst);
      const dstFault = (): Words | undefined => {
        if (!to) return { key: 'build.fault.empty' };
        if (to === 'default') return undefined;
        if (!dst || !network) return { key: 'build.fault.dst' };
        if (network.value !== dst.value)
          return { key: 'build.fault.hostBits', params: { network: showPrefix(network) } };
        return undefined;
      };
      const viaFault = (): Words | undefined => {
        if (!via) return dev ? undefined : { key: 'build.fault.nowhere' };
        if (!gateway) return { key: 'build.fault.gateway' };
        return family !== undefined && gateway.family !== family ? { key: 'build.fault.family' } : undefined;
      };
      const line = [to, via && `via ${via}`, dev && `dev ${dev}`].filter(Boolean).join(' ');
      const v6 = to === 'default' && family === 6;
      const advice: Words | undefined =
        gateway && !viaFault() && !propose.reachable(s, node, via)
          ? { key: 'build.advice.gateway', params: { via } }
          : undefined;
      return meaning(
        { to: dstFault(), via: viaFault() },
        () => act.changeRoute(node, 'add', v6 || dst?.family === 6 ? `-6 ${line}` : line),
        advice,
      );
    },
  };
}

const same = (have: string, to: string, via: string): boolean =>
  have.startsWith(to) && (!via || have.includes(` via ${via}`));

/** Networks that others have and this node does not. */
function networksElsewhere(s: Snapshot, node: NodeId): string[] {
  const own = new Set((act.findNode(s, node)?.routes ?? []).map((r) => r.dst));
  const all = (s.nodes ?? []).filter((n) => n.id !== node).flatMap((n) => propose.networksOf(s, n.id));
  return [...new Set(all.map((n) => n.network))].filter((n) => !own.has(n));
}

/** The routes of a node that a person could have made. */
export const removableRoutes = (s: Snapshot, node: NodeId): string[] =>
  (act.findNode(s, node)?.routes ?? []).map(routeWords);

export function removeRoute(node: NodeId): Form {
  return {
    title: { key: 'build.deleteRoute.on', params: { node } },
    fields: (s) => [
      {
        name: 'route',
        label: { key: 'build.field.route' },
        kind: 'choice',
        choices: removableRoutes(s, node).map(choice),
      },
    ],
    start: (s) => ({ route: removableRoutes(s, node)[0] ?? '' }),
    read: (_, { route = '' }) =>
      meaning({ route: route ? undefined : { key: 'build.fault.empty' } }, () =>
        act.changeRoute(node, 'del', route),
      ),
  };
}

export function mtu(link: LinkId): Form {
  return {
    title: { key: 'build.mtu.of', params: { name: splitLink(link).name } },
    fields: () => [
      {
        name: 'mtu',
        label: { key: 'build.field.mtu' },
        kind: 'number',
        proposals: ['1500', '1450', '1400', '1280', '9000'],
      },
    ],
    start: (s) => ({ mtu: String(act.findLink(s, link)?.mtu ?? 1500) }),
    read(s, { mtu = '' }) {
      const n = Number(mtu);
      const fine = /^[1-9]\d*$/.test(mtu) && n >= 68 && n <= 65535;
      const unchanged = act.findLink(s, link)?.mtu === n;
      const fault: Words | undefined = !fine
        ? { key: 'build.fault.mtu' }
        : unchanged
          ? { key: 'build.fault.unchanged' }
          : undefined;
      return meaning({ mtu: fault }, () => act.setMtu(link, n));
    },
  };
}

/** The bridges to which an interface can be attached. */
export const bridgesFor = (s: Snapshot, link: LinkId): string[] => {
  const { node, name } = splitLink(link);
  const own = act.findLink(s, link);
  if (!own || own.kind === 'bridge' || own.kind === 'loopback') return [];
  return (act.findNode(s, node)?.links ?? [])
    .filter((l) => l.kind === 'bridge' && l.name !== own.master && l.name !== name)
    .map((l) => l.name);
};

export function attach(link: LinkId): Form {
  return {
    title: { key: 'build.attach.what', params: { name: splitLink(link).name } },
    fields: (s) => [
      {
        name: 'bridge',
        label: { key: 'build.field.bridge' },
        kind: 'choice',
        choices: bridgesFor(s, link).map(choice),
      },
    ],
    start: (s) => ({ bridge: bridgesFor(s, link)[0] ?? '' }),
    read: (_, { bridge = '' }) =>
      meaning({ bridge: bridge ? undefined : { key: 'build.fault.empty' } }, () => act.attach(link, bridge)),
  };
}

/** The namespaces of the same machine into which an interface can go. */
export const homesFor = (s: Snapshot, link: LinkId): NodeId[] => {
  const { node } = splitLink(link);
  const own = act.findLink(s, link);
  if (!own || own.kind === 'bridge' || own.kind === 'loopback') return [];
  return (s.nodes ?? [])
    .filter((n) => machineOf(n.id) === machineOf(node) && n.id !== node && !/\/net-\d+$/.test(n.id))
    .map((n) => n.id);
};

export function move(link: LinkId): Form {
  return {
    title: { key: 'build.move.what', params: { name: splitLink(link).name } },
    fields: (s) => [
      {
        name: 'node',
        label: { key: 'build.field.to' },
        kind: 'choice',
        choices: homesFor(s, link).map(choice),
      },
    ],
    start: (s) => ({ node: homesFor(s, link)[0] ?? '' }),
    read: (s, { node = '' }) => {
      const taken = propose.linksIn(s, node).includes(splitLink(link).name);
      const fault: Words | undefined = !node
        ? { key: 'build.fault.empty' }
        : taken
          ? { key: 'build.fault.taken', params: { name: splitLink(link).name } }
          : undefined;
      return meaning({ node: fault }, () => act.moveTo(link, node), { key: 'build.advice.move' });
    },
  };
}

export function masquerade(node: NodeId): Form {
  const outs = (s: Snapshot): { value: string; text: string }[] => {
    const links = (act.findNode(s, node)?.links ?? []).filter((l) => l.kind !== 'loopback' && !l.master);
    const not = links.filter((l) => l.kind === 'bridge').map((l) => choice(`! -o ${l.name}`));
    return [...not, ...links.map((l) => choice(`-o ${l.name}`)), { value: '', text: '—' }];
  };
  return {
    title: { key: 'build.masquerade.on', params: { node } },
    fields: (s) => [
      {
        name: 'source',
        label: { key: 'build.field.source' },
        kind: 'text',
        proposals: propose.networksOf(s, node).map((n) => n.network),
      },
      { name: 'out', label: { key: 'build.field.out' }, kind: 'choice', optional: true, choices: outs(s) },
    ],
    start: (s) => ({
      source: propose.networksOf(s, node)[0]?.network ?? '',
      out: outs(s)[0]?.value ?? '',
    }),
    read(_, { source = '', out = '' }) {
      const p = parsePrefix(source);
      const fault: Words | undefined = !source
        ? { key: 'build.fault.empty' }
        : p?.family !== 4
          ? { key: 'build.fault.network4' }
          : networkOf(p).value !== p.value
            ? { key: 'build.fault.hostBits', params: { network: showPrefix(networkOf(p)) } }
            : undefined;
      const dev = out.split(' ').at(-1) ?? '';
      const by = out.startsWith('!') ? { notBy: dev } : { by: dev };
      return meaning({ source: fault }, () => act.masquerade(node, source, out ? by : null));
    },
  };
}

export function publish(node: NodeId): Form {
  /** Where somebody may listen: the namespaces of the machine. */
  const inner = (s: Snapshot): string[] =>
    (s.nodes ?? [])
      .filter((n) => machineOf(n.id) === machineOf(node) && netnsOf(n.id))
      .flatMap((n) => n.links ?? [])
      .flatMap((l) => (l.kind === 'loopback' ? [] : (l.addresses ?? [])))
      .filter((a) => !a.includes(':'))
      .map((a) => a.split('/')[0] ?? '');
  const own = (s: Snapshot): string[] =>
    (act.findNode(s, node)?.links ?? [])
      .filter((l) => propose.outward(node, l))
      .flatMap((l) => l.addresses ?? [])
      .filter((a) => !a.includes(':'))
      .map((a) => a.split('/')[0] ?? '');
  const port = (text: string): Words | undefined =>
    /^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65535 ? undefined : { key: 'build.fault.port' };
  return {
    title: { key: 'build.publish.on', params: { node } },
    fields: (s) => [
      {
        name: 'protocol',
        label: { key: 'build.field.protocol' },
        kind: 'choice',
        choices: ['tcp', 'udp'].map(choice),
      },
      { name: 'at', label: { key: 'build.field.at' }, kind: 'text', optional: true, proposals: own(s) },
      { name: 'port', label: { key: 'build.field.port' }, kind: 'number' },
      { name: 'to', label: { key: 'build.field.toAddress' }, kind: 'text', proposals: inner(s) },
      { name: 'toPort', label: { key: 'build.field.toPort' }, kind: 'number' },
    ],
    start: (s) => ({
      protocol: 'tcp',
      at: own(s)[0] ?? '',
      port: '8080',
      to: inner(s)[0] ?? '',
      toPort: '80',
    }),
    read(_, { protocol = 'tcp', at = '', port: from = '', to = '', toPort = '' }) {
      const v4 = (text: string): Words | undefined =>
        parseAddress(text)?.family === 4 ? undefined : { key: 'build.fault.address4' };
      const faults = { at: at ? v4(at) : undefined, port: port(from), to: v4(to), toPort: port(toPort) };
      const p = { at, to, port: Number(from), toPort: Number(toPort) };
      return meaning(faults, () => act.publish(node, { protocol: protocol === 'udp' ? 'udp' : 'tcp', ...p }));
    },
  };
}
