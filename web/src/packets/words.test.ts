import { describe, expect, test } from 'vitest';
import { bytesOf, lineAt, offsets, treeOf } from './bytes';
import type { Layer, Sighting } from './protocol';
import { atByte, changeWords, hueOf, pathOf, sinceBefore, timeOf } from './words';

const seen = (place: string, at = 0): Sighting => {
  const [node = '', link = ''] = place.split(':');
  return { no: 1, node, link, out: true, at, length: 1 };
};

test('a path names a node where it changes, and an interface once', () => {
  const places = ['host1/kon:eth0', 'host1:veth1', 'host1:br0', 'host1:br0', 'host1:eth0', 'host2:eth0'];
  expect(pathOf(places.map((p) => seen(p)))).toBe('kon:eth0 → host1:veth1 → br0 → eth0 → host2:eth0');
});

test.each([
  ['ttl', '64', '63', 'TTL 64 → 63'],
  ['src', '10.0.0.2', '192.168.1.1', 'source 10.0.0.2 → 192.168.1.1'],
  ['encapsulated', '', 'udp 9000, 10.0.0.1 → 10.0.0.2', 'wrapped in UDP 9000, 10.0.0.1 → 10.0.0.2'],
  ['decapsulated', 'ipv4, 10.0.0.1 → 10.0.0.2', '', 'unwrapped from IPv4, 10.0.0.1 → 10.0.0.2'],
  ['outer-ttl', '64', '63', 'outside: TTL 64 → 63'],
  ['fragment', '', '0–1479', 'cut: bytes 0–1479'],
  ['fragment', '0–1479', '', 'put together again'],
  ['vlan', '', '10', 'VLAN tag 10 added'],
  ['vlan', '10', '', 'VLAN tag 10 removed'],
  ['vlan', '10', '20', 'VLAN 10 → 20'],
  ['dscp', '0', '46', 'dscp 0 → 46'],
])('what changed in words: %s %s %s', (field, from, to, words) => {
  expect(changeWords({ field, from, to })).toBe(words);
});

test('times', () => {
  expect(timeOf(1_234_567.8)).toBe('1.234568');
  expect(sinceBefore(undefined, seen('a:b', 5))).toBe('0 µs');
  expect(sinceBefore(seen('a:b', 5), seen('a:b', 12.25))).toBe('+7.3 µs');
  expect(sinceBefore(seen('a:b', 0), seen('a:b', 12345.6))).toBe('+12,346 µs');
});

test('a protocol has a colour, one that nobody knows too', () => {
  expect(['ICMPv6', 'DNS', 'HTTP', 'GENEVE', 'LLDP'].map(hueOf)).toEqual([
    'icmp',
    'dns',
    'http',
    'tunnel',
    'other',
  ]);
});

test('the place of a byte in a text', () => {
  expect([0, 5, 99].map((byte) => atByte('host x', byte))).toEqual([0, 5, 6]);
  expect(atByte('é한x', 5)).toBe(2);
});

describe('bytes and layers', () => {
  const layers: Layer[] = [
    { name: 'Ethernet', summary: '', offset: 0, length: 14, fields: [] },
    {
      name: 'IPv4',
      summary: '',
      offset: 14,
      length: 20,
      fields: [
        { name: 'Flags', value: '', offset: 20, length: 2 },
        { name: "Don't fragment", value: '', offset: 20, length: 1, bits: '.1.. ....' },
      ],
    },
    { name: 'Payload', summary: '', offset: 14, length: 8, fields: [] },
  ];
  const at = (byte: number): string | undefined => lineAt(treeOf(layers), byte)?.name;

  test('a byte belongs to its shortest field, else to the innermost layer', () => {
    expect([0, 20, 21, 14, 30, 90].map(at)).toEqual([
      'Ethernet',
      "Don't fragment",
      'Flags',
      'Payload',
      'IPv4',
      undefined,
    ]);
  });
  test('bytes come as base64 and stand in lines', () => {
    expect([...bytesOf('AP8Q')]).toEqual([0, 255, 16]);
    expect(offsets(17, 8)).toEqual([0, 8, 16]);
    expect(offsets(0, 8)).toEqual([]);
  });
});
