// One ping in an Ethernet frame, and what a dissector says of it.
import type { Layer } from '../src/packets/protocol';

export const pingHex = (
  '020000000002 020000000001 0800 45000054 1c4640004001 0a53 ac100002 ac100003 0800 4d2f 0001 0001' +
  ' 1011121314151617 18191a1b1c1d1e1f 2021222324252627 28292a2b2c2d2e2f 3031323334353637'
).replaceAll(' ', '');

export const pingLayers: Layer[] = [
  {
    name: 'Ethernet',
    summary: '02:00:00:00:00:01 → 02:00:00:00:00:02',
    offset: 0,
    length: 14,
    fields: [
      { name: 'Destination', value: '02:00:00:00:00:02', offset: 0, length: 6 },
      { name: 'Source', value: '02:00:00:00:00:01', offset: 6, length: 6 },
      { name: 'Type', value: 'IPv4 (0x0800)', offset: 12, length: 2 },
    ],
  },
  {
    name: 'IPv4',
    summary: '172.16.0.2 → 172.16.0.3',
    offset: 14,
    length: 20,
    fields: [
      { name: 'Version', value: '4', offset: 14, length: 1, bits: '0100 ....' },
      { name: 'Total length', value: '84', offset: 16, length: 2 },
      { name: 'Identification', value: '0x1c46', offset: 18, length: 2 },
      { name: 'Flags', value: "don't fragment", offset: 20, length: 1, bits: '.1.. ....' },
      { name: 'Time to live', value: '64', offset: 22, length: 1 },
      { name: 'Protocol', value: 'ICMP (1)', offset: 23, length: 1 },
      { name: 'Source', value: '172.16.0.2', offset: 26, length: 4 },
      { name: 'Destination', value: '172.16.0.3', offset: 30, length: 4 },
    ],
  },
  {
    name: 'ICMP',
    summary: 'echo request id=1 seq=1',
    offset: 34,
    length: 8,
    fields: [
      { name: 'Type', value: 'echo request (8)', offset: 34, length: 1 },
      { name: 'Checksum', value: '0x4d2f', offset: 36, length: 2 },
      { name: 'Sequence number', value: '1', offset: 40, length: 2 },
    ],
  },
];
