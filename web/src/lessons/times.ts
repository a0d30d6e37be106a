import type { Progress, Session } from '../wire';

/** How many seconds the server has counted for a session's lab, while somebody was there; undefined where it has not. */
export function secondsOf(progress: Progress | null, session: Session): number | undefined {
  const record = progress?.labs.find((l) => l.lab === session.lab && l.variant === session.variant);
  if (!record?.done_at) return undefined;
  return record.steps.reduce((sum, s) => sum + s.seconds, 0);
}

/** How many seconds a lab took in this browser: from when its session was first seen until it was first seen done. */
export function timed(session: string, done: boolean): number | undefined {
  const key = `kabel.time.${session}`;
  const [begun, ended] = (sessionStorage.getItem(key) ?? '').split(' ').map(Number);
  if (begun && ended) return (ended - begun) / 1000;
  const now = Date.now();
  if (!begun) {
    // What was done before it was seen has an unknown time.
    if (!done) sessionStorage.setItem(key, String(now));
    return undefined;
  }
  if (!done) return undefined;
  sessionStorage.setItem(key, `${begun} ${now}`);
  return (now - begun) / 1000;
}
