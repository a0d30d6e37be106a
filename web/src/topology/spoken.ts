import { t } from '../i18n/index.svelte';
import { changesBetween } from '../lessons/changes';
import type { Snapshot } from '../wire';

/** What is told at once; what is more is counted. */
const atMost = 4;

/** A few sentences for who hears what others see. */
export function spoken(a: Snapshot, b: Snapshot): string {
  const all = changesBetween(a, b).flatMap(({ node, changes }) =>
    changes.map((c) => `${node}: ${t(c.key, c.params)}.`),
  );
  const more = all.length - atMost;
  return [...all.slice(0, atMost), ...(more > 0 ? [t('topology.more', { n: more })] : [])].join(' ');
}
