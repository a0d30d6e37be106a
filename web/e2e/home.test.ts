// The first page: a network that lives, the way through the labs, and a world of one's own.
import axe from 'axe-core';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import type { Session } from '../src/wire';
import { kabel } from './kabel';

const { open, begin, call } = kabel();

test('the first visit shows a network that builds itself, and packets that cross it', async () => {
  const { page, faults } = await open();
  const demo = page.locator('[data-testid="demo"][data-state="live"]');
  await demo.waitFor();
  await demo.locator('[data-kind="netns"]').first().waitFor();
  await demo.getByTestId('packets-traffic').locator('.dot').first().waitFor();
  expect((await demo.getByTestId('demo-said').textContent())?.trim()).not.toBe('');
  // Paused, it stands still: no packet comes any more.
  await page.getByTestId('demo-pause').click();
  await demo.getByTestId('packets-traffic').waitFor({ state: 'detached' });
  await demo.getByTestId('topology').waitFor();
  await page.getByTestId('demo-pause').click();
  await demo.getByTestId('packets-traffic').locator('.dot').first().waitFor();
  expect(faults).toEqual([]);
});

test('who comes back is shown how far they came, and may have it forgotten', async () => {
  const { page, faults } = await open();
  expect(await page.getByTestId('hero-start').isVisible()).toBe(true);
  const { path, key } = await begin(page, 'one-namespace');
  const { steps } = await call<Session>(key, 'GET', path);
  await call(key, 'POST', `${path}/steps/${steps[0]?.id ?? ''}/apply`);
  await page.locator(`[data-testid="step-${steps[0]?.id ?? ''}"][data-state="done"]`).waitFor();
  await page.goto(new URL('#/', page.url()).href);
  await page.getByTestId('hero-continue').waitFor();
  await expect.poll(() => page.getByTestId('at-one-namespace').textContent()).toContain('2');
  await page.getByTestId('forget').click();
  await page.getByTestId('forget-yes').click();
  await page.getByTestId('forget').waitFor({ state: 'detached' });
  expect(faults).toEqual([]);
});

test('free play builds the world that was sketched, and types for who asks', async () => {
  const { page, faults } = await open();
  await page.getByTestId('hosts-3').press('Space');
  await page.getByTestId('join-router').press('Space');
  const sketched = await page
    .locator('[data-testid="free"] [data-name]')
    .evaluateAll((all) => all.map((one) => one.getAttribute('data-name') ?? '').sort());
  await page.getByTestId('start-free').click();
  await page.getByTestId('free-play').waitFor();
  await page.getByTestId(`node-${sketched[0] ?? ''}`).waitFor();
  const nodes = await page
    .locator('[data-testid^="node-"]')
    .evaluateAll((all) => all.map((one) => (one.getAttribute('data-testid') ?? '').slice(5)).sort());
  expect(nodes).toEqual(sketched);
  await page.getByTestId('free-play').getByTestId('type').first().click();
  await page.getByText('ip -brief address').nth(1).waitFor(); // besides the one in the sheet
  expect(faults).toEqual([]);
});

/** What axe finds wrong with the page. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  return page.evaluate(async () => {
    const { violations } = await window.axe.run();
    return violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ')).join(', ')}`);
  });
}

declare global {
  interface Window {
    axe: typeof axe;
  }
}

test('nothing is wrong for axe, in any theme and script', async () => {
  const { page } = await open();
  await page.locator('[data-testid="demo"][data-state="live"]').waitFor();
  await page.getByTestId('track-a').waitFor();
  // Nothing may be half faded in while it is judged.
  await page.emulateMedia({ reducedMotion: 'reduce' });
  await page.getByTestId('demo-pause').click();
  for (const [theme, language] of [
    ['dark', 'en'],
    ['dark', 'ko'],
    ['light', 'en'],
    ['light', 'ko'],
    ['contrast', 'en'],
  ] as const) {
    await page.getByTestId('theme').selectOption(theme);
    await page.getByTestId('language').selectOption(language);
    await page.locator(`html[lang="${language}"]`).waitFor();
    expect(await violations(page), `${theme}, ${language}`).toEqual([]);
  }
});
