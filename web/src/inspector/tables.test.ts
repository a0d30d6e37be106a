import { expect, test } from 'vitest';
import { build, models, type Model } from '../../mock/models';
import type { Node } from '../wire';
import { chainsOf, onNode, tablesOf } from './tables';

const world = build(models[0] as Model);
for (const [machine, command] of (models[0] as Model).steps.flatMap((s) => s.do)) world.run(machine, command);
const node = (id: string): Node => world.snapshot().nodes?.find((n) => n.id === id) as Node;

test.each([
  ['host1', 'ip route', 'ip route'],
  ['host1/kon', 'ip route', 'ip -n kon route'],
  ['host1/kon', 'bridge fdb show', 'bridge -n kon fdb show'],
  ['host1/kon', 'ss -lntua', 'ip netns exec kon ss -lntua'],
])('in %s, %s is typed as %s', (id, command, typed) => {
  expect(onNode(node(id), command)).toBe(typed);
});

test('a namespace shows its routes with the command that shows them', () => {
  const routes = tablesOf(node('host1/kon')).find((t) => t.title === 'inspect.routes');
  expect(routes?.command).toBe('ip -n kon route');
  expect(routes?.rows.map((r) => r.slice(0, 3))).toEqual([['default', '172.16.0.1', 'veth2']]);
});

test('an interface shows what concerns it only', () => {
  const host1 = node('host1');
  const veth1 = host1.links?.find((l) => l.name === 'veth1');
  const tables = tablesOf(host1, veth1);
  expect(tables[0]?.rows.map((r) => r[0])).toEqual(['veth1']);
  expect(tables.find((t) => t.title === 'inspect.routes')?.rows.map((r) => r[0])).toEqual(['172.16.0.1/32']);
});

test.each([
  ['iptables', 'ip', 'iptables -t filter -vnL FORWARD'],
  ['iptables-legacy', 'ip', 'iptables-legacy -t filter -vnL FORWARD'],
  ['iptables', 'ip6', 'ip6tables -t filter -vnL FORWARD'],
  ['nft', 'inet', 'nft list chain inet filter FORWARD'],
])('a chain of %s (%s) is shown by %s', (tool, family, command) => {
  const chain = {
    tool,
    family,
    table: 'filter',
    name: 'FORWARD',
    policy: 'DROP',
    packets: 1,
    bytes: 84,
    rules: null,
  };
  const [shown] = chainsOf({ ...node('host1'), firewall: [chain] });
  expect(shown).toMatchObject({ command, policy: 'DROP', rules: [] });
});
