import { tOr } from '../i18n/index.svelte';
import { wordsOf } from '../shell/problem';
import type { Problem } from '../wire';

/** Why a command failed, in plain words where the kernel's own name for it is known. */
export function reasonOf(p: Problem): string {
  const { title, detail } = wordsOf(p);
  const said = detail || title;
  if (!p.errno) return said;
  const plain = tOr(`errno.${p.errno}`, '');
  return plain ? `${plain} (${p.errno})` : said;
}
