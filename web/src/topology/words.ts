import { t } from '../i18n/index.svelte';
import { isHidden, kindText, linkState, netnsOf, splitLink } from '../snapshot';
import type { LinkId } from '../wire';
import type { Notice } from './notices';
import type { Cable, Item, NodeItem } from './picture';
import { across } from './walk';

export function noticeText(n: Notice): string {
  if (n.kind === 'forwarding') return t('topology.forwarding');
  return n.kind === 'drop' ? `${n.chain} DROP` : n.text;
}

/** What stands over a node: its name, or that it has none. */
export function titleOf(i: NodeItem): string {
  return isHidden(i.id) ? `${t('topology.hidden')} …${i.id.slice(-3)}` : i.title;
}

/**
 * What a screen reader says of an item. It begins with the words that are
 * written in the picture, so that one who speaks to the page can say them.
 */
export function nameOf(i: Item): string {
  if (i.type === 'node') {
    const written = [
      titleOf(i),
      ...(i.look === 'switch' ? [t('topology.switch')] : []),
      ...i.notices.map(noticeText),
      ...(i.root ? [t('topology.root')] : []),
    ].join(' ');
    const full = netnsOf(i.id) || i.id;
    const kind = i.look === 'switch' ? [] : [t(`node.${i.node.kind}`)];
    return [written, ...(full === titleOf(i) ? [] : [full]), ...kind].join(', ');
  }
  const parts = [[i.name, ...i.lines].join(' ')];
  if (i.name !== i.link.name) parts.push(i.link.name);
  const kind = kindText(i.link);
  if (!i.lines.includes(kind)) parts.push(kind);
  parts.push(t(`link.${linkState(i.link)}`));
  parts.push(...(i.link.addresses ?? []).filter((a) => !i.lines.includes(a)));
  if (i.link.master) parts.push(t('link.master', { master: i.link.master }));
  if (i.link.peer) parts.push(t('link.cable', splitLink(i.link.peer)));
  return parts.join(', ');
}

/** What a screen reader says of a cable that one comes to from one of its ends. */
export function cableName(c: Cable, from: LinkId): string {
  const end = (id: LinkId): string => {
    const { node, name } = splitLink(id);
    return `${node} ${name}`;
  };
  const state = t(c.up ? 'link.up' : 'link.down');
  switch (c.kind) {
    case 'veth':
    case 'wire':
      return t('cable.between', { a: end(from), b: end(across(c, from)), state });
    case 'tunnel':
      return t('cable.tunnel', { label: c.label, a: end(from), b: end(across(c, from)), state });
    case 'port-of': // the bridge is the first of its ends
      return t('cable.port-of', { a: end(c.ends[1]), b: end(c.ends[0]), state });
    default:
      return t(`cable.${c.kind}`, { a: end(c.ends[0]), b: end(c.ends[1]), state });
  }
}
