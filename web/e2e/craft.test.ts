// What holds for every page, theme and language: its weight, and that no text
// is cut off.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { serveIn, still, type Served } from '../mock/served';
import { launch } from './chromium';
import { cutOff } from './cut-off';
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

let browser: Browser;
let served: Served;
beforeAll(async () => {
  browser = await launch();
  served = await serveIn(browser);
}, 120_000);
afterAll(async () => {
  await browser.close();
  await served.close();
});

test.each(languages)('nor in any state of any component: %s', async (language) => {
  const page = await served.page({ reducedMotion: 'reduce', viewport: { width: 1440, height: 900 } });
  const found: Record<string, string[]> = {};
  for (const section of ['controls', 'notices', 'lesson', 'menus', 'tools', 'inspector', 'packets']) {
    await served.show(page, { section, language });
    await still(page, 3);
    const texts = await page.evaluate(cutOff);
    if (texts.length > 0) found[section] = texts;
  }
  expect(found).toEqual({});
});
