// What holds for every page, theme and language: its weight, and that no text
// is cut off.
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { kabel } from './kabel';

const { open, begin } = kabel();

const languages = ['en', 'id', 'vi', 'ko'];

async function choose(page: Page, what: 'language' | 'theme', value: string): Promise<void> {
  await page.getByTestId(what).selectOption(value);
  if (what === 'language') await page.locator(`html[lang="${value}"]`).waitFor({ state: 'attached' });
}

test('the first lab page has no more than 150 kB of scripts, as they come over the wire', async () => {
  const { page } = await open();
  const network = await page.context().newCDPSession(page);
  const scripts = new Map<string, { url: string; bytes: number }>();
  network.on('Network.responseReceived', ({ requestId, type, response }) => {
    if (type === 'Script') scripts.set(requestId, { url: response.url, bytes: 0 });
  });
  network.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
    const script = scripts.get(requestId);
    if (script) script.bytes = encodedDataLength;
  });
  await network.send('Network.enable');
  await network.send('Network.setCacheDisabled', { cacheDisabled: true });
  await begin(page, 'one-host-bridge');
  const lab = page.url();
  await page.goto('about:blank');
  scripts.clear(); // of the home page
  await page.goto(lab);
  const began = Date.now();
  await page.locator('[data-testid="run-containers"]:enabled').waitFor();
  await page.getByTestId('node-host1').waitFor();
  const took = Date.now() - began;
  const all = [...scripts.values()];
  const total = all.reduce((sum, s) => sum + s.bytes, 0);
  console.log(
    `first lab page: ${String(Math.round(total / 1000))} kB of scripts, ${String(took)} ms to the first button`,
  );
  expect(all.length).toBeGreaterThan(0);
  expect(total, JSON.stringify(all, null, 1)).toBeLessThanOrEqual(150_000);
});

/**
 * Texts that the reader can't see whole: out of the window, or cut off by a box
 * that does not scroll, without the rest in a title.
 */
function cutOff(): string[] {
  const found: string[] = [];
  if (document.documentElement.scrollWidth > innerWidth) found.push('the page scrolls sideways');
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode;
    const own = text.parentElement;
    if (!own || !text.textContent?.trim() || own.closest('svg, .xterm, option, script, style')) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    const { left, right, width, height } = range.getBoundingClientRect();
    if (width < 2 || height < 2 || getComputedStyle(own).visibility === 'hidden') continue;
    const name = text.textContent.trim().slice(0, 60);
    for (let e: Element | null = own; e; e = e.parentElement) {
      const style = getComputedStyle(e);
      if (style.clipPath !== 'none') break; // for screen readers
      if (style.overflowX === 'auto' || style.overflowX === 'scroll') break;
      const box = e.getBoundingClientRect();
      if (style.overflowX !== 'visible' && (left < box.left - 1.5 || right > box.right + 1.5)) {
        if (style.textOverflow !== 'ellipsis' || !own.closest('[title]')) found.push(`cut off: ${name}`);
        break;
      }
      if (e === document.body && (left < -1 || right > innerWidth + 1))
        found.push(`out of the window: ${name}`);
    }
  }
  return [...new Set(found)];
}

test.each(languages)('no text is cut off: %s', async (language) => {
  const { page } = await open();
  await choose(page, 'language', language);
  const found: Record<string, string[]> = {};
  const look = async (what: string): Promise<void> => {
    for (const [width, height] of [
      [1440, 900],
      [1024, 640],
      [390, 844],
    ] as const) {
      await page.setViewportSize({ width, height });
      await page.evaluate(
        () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))),
      );
      const texts = await page.evaluate(cutOff);
      if (texts.length > 0) found[`${what}, ${String(width)}×${String(height)}`] = texts;
    }
    await page.setViewportSize({ width: 1440, height: 900 });
  };
  await page.getByTestId('start-one-host-bridge').waitFor();
  await look('home');
  await begin(page, 'one-host-bridge');
  await page.getByTestId('run-containers').click();
  await page.locator('[data-testid="step-containers"][data-state="done"]').waitFor();
  await page.getByTestId('packets-toggle').click();
  await page.getByTestId('node-host1/kon1').click();
  await page.getByTestId('inspector').waitFor();
  await look('lab');
  expect(found).toEqual({});
});
