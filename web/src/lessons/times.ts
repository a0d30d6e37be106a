/** How long a lab took in this browser: from when its session was first seen until it was first seen done. */
export function timed(session: string, done: boolean): number | undefined {
  const key = `kabel.time.${session}`;
  const [begun, ended] = (sessionStorage.getItem(key) ?? '').split(' ').map(Number);
  if (begun && ended) return ended - begun;
  const now = Date.now();
  if (!begun) {
    // What was done before it was seen has an unknown time.
    if (!done) sessionStorage.setItem(key, String(now));
    return undefined;
  }
  if (!done) return undefined;
  sessionStorage.setItem(key, `${begun} ${now}`);
  return now - begun;
}
