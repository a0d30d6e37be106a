import { expect, test } from 'vitest';
import { scenes, translated } from '../../mock/scenes';
import { linkId } from '../snapshot';
import { describe as inWords, type Sentence } from './describe';

const all = (s: Sentence[]): Sentence[] => s.flatMap((one) => [one, ...all(one.parts)]);

test.each(scenes)('%s: every namespace and interface is told once', (_, s) => {
  const told = all(inWords(s)).map((one) => one.id);
  for (const n of s.nodes ?? [])
    for (const id of [n.id, ...(n.links ?? []).map((l) => linkId(n.id, l.name))])
      expect(
        told.filter((one) => one === id),
        id,
      ).toHaveLength(1);
  expect(new Set(told).size).toBe(told.length);
});

test('how an interface is shared is told', () => {
  const [, s] = scenes.find(([name]) => name === 'macvlan on the uplink') ?? [];
  const told = s ? all(inWords(s)).map((one) => one.text) : [];
  expect(told).toContain('eth0 (macvlan bridge): up; 10.0.0.20/24; carried by eth0 of host1');
  expect(told).toContain('eth0 (macvlan private): up; 10.0.0.22/24; carried by eth0 of host1');
});

test('where a tunnel leads is told, and with what it is joined', () => {
  const [, s] = scenes.find(([name]) => name === 'GRE, IP in IP and Geneve between three hosts') ?? [];
  const told = s ? all(inWords(s)).map((one) => one.text) : [];
  expect(told).toContain(
    'gre7 (gre): up; 192.168.7.1/24; 10.0.0.1 → 10.0.0.2, key 7; MTU 1476; carried by eth0 of host1',
  );
  expect(told).toContain('Tunnel IPIP: ipip0 on host2 and ipip0 on host3 carry frames for each other.');
});

test('what a host does with packets is told', () => {
  const s = translated(
    ['-A PREROUTING -p tcp -m tcp --dport 5000 -j DNAT --to-destination 172.20.0.1:80'],
    ['-A POSTROUTING -s 172.20.0.0/24 ! -o br0 -j MASQUERADE'],
  );
  const host1 = inWords(s)[0];
  expect(host1?.parts.map((p) => p.text)).toEqual(
    expect.arrayContaining([
      'eth0 (veth): up; 10.0.2.15/24; cable to port1 on sw',
      'br0 (bridge): up; 172.20.0.254/24; ports: v0, v1, v2',
      'Passes packets on (net.ipv4.ip_forward is 1).',
      'Drops what no rule of FORWARD allows.',
      'Packets of 172.20.0.0/24 leave through eth0 with the address of eth0 (masquerade).',
      'What comes in through eth0 for port tcp 5000 goes on to 172.20.0.1:80, in host1/c0 (DNAT).',
    ]),
  );
});
