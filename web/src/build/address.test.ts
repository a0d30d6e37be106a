import { describe, expect, test } from 'vitest';
import {
  inside,
  networkOf,
  nextFree,
  parseAddress,
  parsePrefix,
  showAddress,
  showPrefix,
  spokenFor,
  type Address,
  type Prefix,
} from './address';

const prefix = (text: string): Prefix => {
  const p = parsePrefix(text);
  if (!p) throw new Error(`${text} was not understood`);
  return p;
};

test.each([
  ['10.0.0.1', '10.0.0.1'],
  ['255.255.255.255', '255.255.255.255'],
  ['fd00::1', 'fd00::1'],
  ['FD00:0:0::1', 'fd00::1'],
  ['::', '::'],
  ['::1', '::1'],
  ['1::', '1::'],
  ['2001:db8:0:1:0:0:0:1', '2001:db8:0:1::1'],
  ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
  ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
  ['::ffff:10.0.0.1', '::ffff:a00:1'],
])('%s is read and written as %s', (text, written) => {
  const a = parseAddress(text);
  expect(a && showAddress(a)).toBe(written);
});

test.each([
  '',
  '10.0.0',
  '10.0.0.0.1',
  '10.0.0.256',
  '10.0.0.01',
  '10.0.0.x',
  ' 10.0.0.1',
  '10.0.0.-1',
  ':',
  ':::',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  '1::2::3',
  '1:2:3:4:5:6:7::8',
  'fd00::12345',
  'fd00::g',
  'fe80::1%eth0',
  '::10.0.0.256',
])('%j is no address', (text) => expect(parseAddress(text)).toBeNull());

test.each([
  ['172.16.0.2/24', 24],
  ['172.16.0.2', 32],
  ['0.0.0.0/0', 0],
  ['fd00::1/64', 64],
  ['fd00::1', 128],
])('%s has %i bits', (text, bits) => expect(parsePrefix(text)?.bits).toBe(bits));

test.each([
  '172.16.0.2/',
  '172.16.0.2/33',
  '172.16.0.2/024',
  '172.16.0.2/2/4',
  'fd00::1/129',
  '/24',
  '172.16.0.2/ab',
])('%j is no prefix', (text) => expect(parsePrefix(text)).toBeNull());

test.each([
  ['172.16.0.2/24', '172.16.0.0/24'],
  ['172.16.255.255/12', '172.16.0.0/12'],
  ['10.1.2.3/32', '10.1.2.3/32'],
  ['10.1.2.3/0', '0.0.0.0/0'],
  ['fd00:1::ff/64', 'fd00:1::/64'],
])('%s is in %s', (text, network) => expect(showPrefix(networkOf(prefix(text)))).toBe(network));

test.each([
  ['172.16.0.9', '172.16.0.0/24', true],
  ['172.16.1.9', '172.16.0.0/24', false],
  ['172.16.1.9', '0.0.0.0/0', true],
  ['fd00::9', 'fd00::/64', true],
  ['fd00::9', '0.0.0.0/0', false],
])('%s inside %s: %s', (ip, network, yes) => {
  expect(inside(parseAddress(ip) as Address, prefix(network))).toBe(yes);
});

test.each([
  ['10.0.0.0/24', 'network'],
  ['10.0.0.255/24', 'broadcast'],
  ['10.0.0.1/24', null],
  ['10.0.0.0/31', null], // RFC 3021
  ['10.0.0.0/32', null],
  ['fd00::/64', null],
])('%s is spoken for: %s', (text, by) => expect(spokenFor(prefix(text))).toBe(by));

describe('the next free address', () => {
  test.each([
    ['172.16.0.0/24', [], '172.16.0.1/24'],
    ['172.16.0.1/24', ['172.16.0.1'], '172.16.0.2/24'],
    ['172.16.0.0/24', ['172.16.0.1', '172.16.0.2', '172.16.0.4', '10.0.0.3'], '172.16.0.3/24'],
    ['172.16.0.0/30', ['172.16.0.1', '172.16.0.2'], null],
    ['172.16.0.1/32', ['172.16.0.1'], null],
    ['fd00::/64', ['fd00::1'], 'fd00::2/64'],
  ])('in %s beside %j is %s', (network, taken, wanted) => {
    const free = nextFree(
      prefix(network),
      taken.map((a) => parseAddress(a) as Address),
    );
    expect(free && showPrefix(free)).toBe(wanted);
  });
});
