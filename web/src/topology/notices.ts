import type { Node } from '../wire';
import { masquerades, published, publishedText } from './nat';
import type { World } from './world';

/** What decides about packets that a machine is to pass on, and is not the ordinary. */
export type Notice =
  { kind: 'forwarding' } | { kind: 'drop'; chain: string } | { kind: 'nat' | 'publish'; text: string };

export function noticesOf(n: Node): Notice[] {
  const dropping = (n.firewall ?? []).filter((c) => c.policy?.toUpperCase() === 'DROP').map((c) => c.name);
  return [
    ...(n.sysctls?.['net.ipv4.ip_forward'] === '1' ? [{ kind: 'forwarding' as const }] : []),
    ...[...new Set(dropping)].map((chain) => ({ kind: 'drop' as const, chain })),
  ];
}

/** What is drawn as a sign beside the interface where there is room for that. */
export function translationsOf(n: Node, w: World): Notice[] {
  return [...new Set(masquerades(n, w).map((m) => `${m.to ? 'SNAT' : 'MASQUERADE'} ${m.on.link.name}`))]
    .map((text): Notice => ({ kind: 'nat', text }))
    .concat([...new Set(published(n, w).map(publishedText))].map((text) => ({ kind: 'publish', text })));
}

export const noticeWidth = (notices: Notice[]): number =>
  notices.reduce((sum, n) => sum + ('text' in n ? n.text.length * 7 + 30 : 104), 0);
