import type { Node } from '../wire';

/** What decides about packets that a machine is to pass on, and is not the ordinary. */
export type Notice = { kind: 'forwarding' } | { kind: 'drop'; chain: string };

export function notices(n: Node): Notice[] {
  const dropping = (n.firewall ?? []).filter((c) => c.policy?.toUpperCase() === 'DROP').map((c) => c.name);
  return [
    ...(n.sysctls?.['net.ipv4.ip_forward'] === '1' ? [{ kind: 'forwarding' as const }] : []),
    ...[...new Set(dropping)].map((chain) => ({ kind: 'drop' as const, chain })),
  ];
}

export const noticeWidth = (n: Node): number => notices(n).length * 104;
