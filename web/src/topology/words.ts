import { t } from '../i18n/index.svelte';
import { linkState, netnsOf, splitLink } from '../snapshot';
import { notices, type Notice } from './notices';
import type { Item } from './picture';

export const noticeText = (n: Notice): string =>
  n.kind === 'forwarding' ? t('topology.forwarding') : `${n.chain} DROP`;

/**
 * What a screen reader says of an item. It begins with the words that are
 * written in the picture, so that one who speaks to the page can say them.
 */
export function nameOf(i: Item): string {
  if (i.type === 'node') {
    const written = [
      i.title,
      ...(i.look === 'netns' || i.look === 'switch' ? [] : notices(i.node).map(noticeText)),
      ...(i.root ? [t('topology.root')] : []),
    ].join(' ');
    const full = netnsOf(i.id) || i.id;
    return [written, ...(full === i.title ? [] : [full]), t(`node.${i.node.kind}`)].join(', ');
  }
  const parts = [[i.name, ...i.lines].join(' ')];
  if (i.name !== i.link.name) parts.push(i.link.name);
  parts.push(i.link.kind, t(`link.${linkState(i.link)}`));
  parts.push(...(i.link.addresses ?? []).filter((a) => !i.lines.includes(a)));
  if (i.link.master) parts.push(t('link.master', { master: i.link.master }));
  if (i.link.peer) parts.push(t('link.cable', splitLink(i.link.peer)));
  return parts.join(', ');
}
