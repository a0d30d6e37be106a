import type { LimitHit } from '../wire';

/** How often each limit had been hit when its notice was dismissed. */
export type Dismissed = Record<string, number>;

export const keyOf = (l: LimitHit): string => `${l.kind} ${l.node ?? ''}`;

/** The limits of which the reader is to be told: those hit since they were dismissed. */
export function news(limits: LimitHit[], dismissed: Dismissed): LimitHit[] {
  return limits.filter((l) => l.hits > (dismissed[keyOf(l)] ?? 0));
}

/**
 * What of the dismissed still counts: a world that was built again, or a namespace
 * that was made again, counts from the start.
 */
export function still(limits: LimitHit[], dismissed: Dismissed): Dismissed {
  const hits = new Map(limits.map((l) => [keyOf(l), l.hits]));
  return Object.fromEntries(Object.entries(dismissed).filter(([key, n]) => n <= (hits.get(key) ?? 0)));
}
