import { t } from '../i18n/index.svelte';
import type { Problem } from '../wire';

/** The words for a problem: the server's own, and ours where it said none. */
export function wordsOf(p: Problem): { title: string; detail: string } {
  if (p.code === 'unreachable')
    return { title: t('state.unreachable'), detail: t('state.unreachable.detail') };
  if (p.code === 'bad-answer') return { title: t('state.badAnswer'), detail: '' };
  const title = p.title || (p.status ? t('state.http', { status: String(p.status) }) : t('state.failed'));
  return { title, detail: p.detail ?? '' };
}
