// A flood of packets, made beside the page and not in its thread, as a server's
// would be: `rate` rows a second, told as often as a server tells of them.
import { passing } from './samples';

const tick = 10; // ms

self.onmessage = (e: MessageEvent<number>) => {
  const rate = e.data;
  const since = performance.now();
  let sent = 0;
  setInterval(() => {
    const due = Math.floor(((performance.now() - since) / 1000) * rate);
    const rows = Array.from({ length: due - sent }, (_, i) => passing(sent + i));
    sent = due;
    const lost = { kernel: 0, host: 0, hub: 0, viewer: 0 };
    if (rows.length > 0) self.postMessage(JSON.stringify({ type: 'batch', seq: due, rows, lost }));
  }, tick);
};
