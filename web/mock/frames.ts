// How even the page's frames come while much happens, beside those of a page on
// which nothing does: `npm run bench:page`. A hundred nodes, 4,000 packets a
// second, the packets' pane open.
import { launch } from '../e2e/chromium';
import { serveIn, type Served } from './served';

const seconds = 10;

/** The times between frames in ms, sorted; what they cost is printed. */
async function frames(served: Served, section: string | null): Promise<number[]> {
  const page = await served.page({ viewport: { width: 1440, height: 900 } });
  if (section !== null) {
    await served.show(page, { section, theme: 'dark' });
    await page.getByTestId('packets-toggle').click();
    await page.locator('[data-testid^=packets-row-]').first().waitFor();
  }
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Performance.enable');
  const spent = async (): Promise<Map<string, number>> =>
    new Map((await cdp.send('Performance.getMetrics')).metrics.map((m) => [m.name, m.value]));
  const before = await spent();
  const times = await page.evaluate(
    (ms) =>
      new Promise<number[]>((done) => {
        const all: number[] = [];
        const begun = performance.now();
        const step = (before: number) => (now: number) => {
          all.push(now - before);
          if (now - begun > ms) done(all);
          else requestAnimationFrame(step(now));
        };
        requestAnimationFrame((first) => requestAnimationFrame(step(first)));
      }),
    seconds * 1000,
  );
  const after = await spent();
  const share = (name: string): string => {
    const s = (after.get(name) ?? 0) - (before.get(name) ?? 0);
    return `${((100 * s) / seconds).toFixed(0)} %`;
  };
  console.log(
    `${section ?? 'empty page'}: ${String(times.length)} frames; the page's thread: ${share('TaskDuration')}, ` +
      `of it script ${share('ScriptDuration')}, styles ${share('RecalcStyleDuration')}, layout ${share('LayoutDuration')}`,
  );
  const kept = section === null ? '' : ((await page.getByTestId('packets-count').textContent()) ?? '').trim();
  if (kept) console.log(`kept after ${String(seconds)} s: ${kept}`);
  await page.context().close();
  return times.toSorted((a, b) => a - b);
}

const at = (sorted: number[], part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;

const browser = await launch();
const served = await serveIn(browser);
const [empty, busy] = [await frames(served, null), await frames(served, 'page-busy')];
for (const part of [0.5, 0.95, 0.99]) {
  const [a, b] = [at(empty, part), at(busy, part)];
  const name = `p${String(part * 100)}`;
  console.log(`${name}: ${b.toFixed(1)} ms, empty page ${a.toFixed(1)} ms, ratio ${(b / a).toFixed(2)}`);
}
await browser.close();
await served.close();
