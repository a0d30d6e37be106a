import { speech, t, tOr } from '../i18n/index.svelte';
import { machineOf, netnsOf } from '../snapshot';
import type { NodeId } from '../wire';
import type { Change, Row, Sighting } from './protocol';

const shortNode = (id: NodeId): string => netnsOf(id) || machineOf(id);

/** The places of a packet in their order: "kon:eth0 → host1:veth1 → br0"; the node where it changes. */
export function pathOf(sightings: Sighting[]): string {
  const parts: string[] = [];
  let [node, last] = ['', ''];
  for (const s of sightings) {
    const place = `${s.node}:${s.link}`;
    if (place === last) continue;
    parts.push(s.node === node ? s.link : `${shortNode(s.node)}:${s.link}`);
    [node, last] = [s.node, place];
  }
  return parts.join(' → ');
}

/** Seconds since the capture began, with µs. */
export const timeOf = (at: number): string => (at / 1e6).toFixed(6);

/** The sighting before this one on its path: a bridge may have sent it to several ports. */
export function before(all: Sighting[], i: number): Sighting | undefined {
  const after = all[i]?.after;
  return after === undefined ? all[i - 1] : all.find((s) => s.no === after);
}

/** Since the sighting before: "+12 µs". */
export function sinceBefore(before: Sighting | undefined, s: Sighting): string {
  if (!before) return '0 µs';
  const us = Math.max(0, s.at - before.at);
  const digits = us < 10 ? 1 : 0;
  return `+${us.toLocaleString(speech.language, { maximumFractionDigits: digits })} µs`;
}

/** What was changed at a hop: "TTL 64 → 63". */
export function changeWords({ field, from, to }: Change): string {
  if (field.startsWith('outer-'))
    return t('packets.change.outer', { what: changeWords({ field: field.slice(6), from, to }) });
  const kind = `packets.change.${field}`;
  const what = tunnelName(to || from);
  if (field === 'encapsulated' || field === 'decapsulated') return tOr(kind, what, { what });
  // A tag, or being a fragment, may come and go.
  if (!from) return tOr(`packets.change.${field}-added`, `${field} ${to}`, { to });
  if (!to) return tOr(`packets.change.${field}-removed`, `${field} ${from}`, { from });
  return tOr(kind, `${field} ${from} → ${to}`, { from, to });
}

/** "vxlan 100, 10.0.0.1 → 10.0.0.2" as it is written. */
const tunnelName = (name: string): string =>
  name.replace(/^[a-z]+/, (word) => (word === 'ipv' ? 'IPv' : word.toUpperCase()));

export const changesWords = (s: Sighting): string => (s.changes ?? []).map(changeWords).join(' · ');

/** Which of the colour tokens a protocol has. */
export type Hue = 'arp' | 'icmp' | 'tcp' | 'udp' | 'dns' | 'http' | 'tunnel' | 'other';

export function hueOf(protocol: string): Hue {
  const p = protocol.toLowerCase();
  if (p.startsWith('arp')) return 'arp';
  if (p.startsWith('icmp') || p === 'ndp') return 'icmp';
  if (p.startsWith('http')) return 'http';
  if (p.startsWith('tcp') || p.startsWith('tls')) return 'tcp';
  if (p.startsWith('dns') || p.startsWith('mdns')) return 'dns';
  if (p.startsWith('udp') || p.startsWith('dhcp')) return 'udp';
  if (/^(vxlan|geneve|gre|ipip|ip-in|sit|tunnel)/.test(p)) return 'tunnel';
  return 'other';
}

/** What a screen reader says of a row. */
export const rowName = (row: Row): string =>
  [
    row.protocol,
    `${row.source} → ${row.destination}`,
    row.info,
    t(`packets.state.${row.state}`),
    t('packets.places', { n: row.sightings.length }),
  ].join(', ');

/** Where in a text its byte of this number is. */
export function atByte(text: string, byte: number): number {
  const encoder = new TextEncoder();
  let [bytes, at] = [0, 0];
  for (const char of text) {
    if (bytes >= byte) break;
    bytes += encoder.encode(char).length;
    at += char.length;
  }
  return at;
}
