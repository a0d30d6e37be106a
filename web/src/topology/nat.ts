import { isDefault } from '../snapshot';
import type { Chain, Netdev, Node } from '../wire';
import { hasAddress, type End, type World } from './world';

/** What leaves through an interface with another sender's address. */
export interface Masquerade {
  on: End;
  /** The address that takes the sender's place, where the rule names it. */
  to?: string;
  /** Whose packets, where the rule says so. */
  source?: string;
}

/** What comes in for a port and is sent on to another place. */
export interface Published {
  on: End;
  protocol: string;
  port: string;
  to: string;
  toPort: string;
  /** The interface that has the address `to`. */
  target?: End;
}

/** One rule of a chain that translates addresses, whichever program wrote it. */
interface Translation {
  kind: 'source' | 'destination';
  from?: string;
  dst?: string;
  in?: Match;
  out?: Match;
  protocol: string;
  port: string;
  to?: string;
  toPort?: string;
}
interface Match {
  name: string;
  not: boolean;
}

export function masquerades(n: Node, w: World): Masquerade[] {
  return unique(
    translations(n).flatMap((t) =>
      t.kind === 'source'
        ? outsides(n, w, t.out).map((on) => ({
            on,
            ...(t.to && { to: t.to }),
            ...(t.from && { source: t.from }),
          }))
        : [],
    ),
  );
}

export function published(n: Node, w: World): Published[] {
  return unique(
    translations(n).flatMap((t) => {
      if (t.kind !== 'destination' || !t.to) return [];
      const { to } = t;
      const own = w.ends(n).find((e) => t.dst !== undefined && hasAddress(e.link, bare(t.dst)));
      const on = (own && !own.link.master ? own : undefined) ?? outsides(n, w, t.in)[0];
      const target = w.holder(to, n.id);
      return on
        ? [
            {
              on,
              protocol: t.protocol,
              port: t.port,
              to,
              toPort: t.toPort ?? t.port,
              ...(target && { target }),
            },
          ]
        : [];
    }),
  );
}

/** Where packets leave that a rule means: what it names, else the way out. */
function outsides(n: Node, w: World, match: Match | undefined): End[] {
  const ends = w.ends(n).filter((e) => e.link.kind !== 'loopback');
  if (match && !match.not) return ends.filter((e) => matches(match, e.link));
  const allowed = ends.filter((e) => !match || !matches(match, e.link));
  const defaults = (n.routes ?? []).filter((r) => isDefault(r.dst)).map((r) => r.dev);
  const way = allowed.filter((e) => defaults.includes(e.link.name));
  return way.length ? way.slice(0, 1) : allowed.filter((e) => w.wiredTo(e) !== undefined);
}

const matches = (m: Match, l: Netdev): boolean =>
  m.name.endsWith('+') || m.name.endsWith('*') ? l.name.startsWith(m.name.slice(0, -1)) : l.name === m.name;

const bare = (prefix: string): string => prefix.replace(/\/(32|128)$/, '');

function translations(n: Node): Translation[] {
  return (n.firewall ?? []).flatMap((c) =>
    isOutput(c)
      ? []
      : (c.rules ?? []).flatMap((r) => (c.tool === 'nft' ? ofNft(r.text) : ofIptables(c, r.text))),
  );
}

/** Translates what the machine itself sends, nothing that comes from outside. */
const isOutput = (c: Chain): boolean => c.name.toUpperCase() === 'OUTPUT';

function ofIptables(c: Chain, text: string): Translation[] {
  if (c.table !== 'nat') return [];
  const options = new Map<string, Match>();
  const words = text.split(/\s+/);
  words.forEach((word, i) => {
    if (word.startsWith('-')) options.set(word, { name: words[i + 1] ?? '', not: words[i - 1] === '!' });
  });
  const plain = (key: string): string | undefined => {
    const found = options.get(key);
    return found && !found.not ? found.name : undefined;
  };
  const common = rid({
    from: plain('-s'),
    dst: plain('-d'),
    in: options.get('-i'),
    out: options.get('-o'),
  });
  const [protocol, port] = [plain('-p') ?? '', plain('--dport') ?? plain('--dports') ?? ''];
  switch (plain('-j')) {
    case 'MASQUERADE':
      return [{ kind: 'source', ...common, protocol, port }];
    case 'SNAT':
      return [{ kind: 'source', ...common, protocol, port, ...rid({ to: plain('--to-source') }) }];
    case 'DNAT':
      return [{ kind: 'destination', ...common, protocol, port, ...place(plain('--to-destination') ?? '') }];
    default:
      return [];
  }
}

function ofNft(text: string): Translation[] {
  const found = (pattern: RegExp): string | undefined => pattern.exec(text)?.[1];
  const match = (key: string): Match | undefined => {
    const m = new RegExp(`\\b${key}(?:name)? (!= )?"?([^" ]+)"?`).exec(text);
    return m ? { name: m[2] as string, not: m[1] !== undefined } : undefined;
  };
  const common = rid({
    from: found(/\bip6? saddr ([^ !]+)/),
    dst: found(/\bip6? daddr ([^ !]+)/),
    in: match('iif'),
    out: match('oif'),
  });
  const ports = /\b(tcp|udp|sctp|th) dport ([^ !]+)/.exec(text);
  const [protocol, port] = [ports?.[1] ?? '', ports?.[2] ?? ''];
  if (/\bmasquerade\b/.test(text)) return [{ kind: 'source', ...common, protocol, port }];
  const to = /\b(snat|dnat)(?: ip6?)? to ([^ ]+)/.exec(text);
  if (to?.[1] === 'snat') return [{ kind: 'source', ...common, protocol, port, to: to[2] as string }];
  if (to?.[1] === 'dnat')
    return [{ kind: 'destination', ...common, protocol, port, ...place(to[2] as string) }];
  return [];
}

/** "10.0.0.2:80", "10.0.0.2", "[fd00::2]:80". */
function place(text: string): { to: string; toPort?: string } {
  const m = /^\[?([0-9a-f:]+|[0-9.]+)\]?(?::(\d+))?$/.exec(text);
  const six = text.includes('::') && !text.startsWith('[');
  if (!m || six) return { to: text };
  return { to: m[1] as string, ...(m[2] !== undefined && { toPort: m[2] }) };
}

/** Without what is undefined. */
const rid = <T extends object>(o: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };

function unique<T extends { on: End }>(all: T[]): T[] {
  const seen = new Set<string>();
  return all.filter((one) => {
    const key = JSON.stringify({ ...one, on: one.on.id, target: undefined });
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

export const publishedText = (p: Published): string =>
  `:${p.port || '*'} → ${p.to}${p.toPort ? `:${p.toPort}` : ''}`;
