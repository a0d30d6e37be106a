// What a page tells of the end of its world, with limits that are short.
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { kabel } from './kabel';

const { open, begin } = kabel('--idle', '10s', '--total', '60s');

/** Looks elsewhere, or back: headless pages are always in sight. */
const look = (page: Page, away: boolean): Promise<void> =>
  page.evaluate((hidden) => {
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, away);

test('who is away is warned, may come back, and finds the world put away later', async () => {
  const { page, faults } = await open();
  await begin(page, 'one-namespace');
  await page.getByTestId('terminal-open-host1').click();
  await page.locator('[data-testid="terminal-tab-host1"][data-state=live]').waitFor();
  await page.getByTestId('run-namespace').click();
  await page.locator('[data-testid="step-namespace"][data-state="done"]').waitFor();

  await look(page, true);
  await page.locator('[data-testid=session-ends][data-why=idle]').waitFor();
  expect(await page.title()).toMatch(/^⏳ /);
  await look(page, false);
  await page.getByTestId('session-ends').waitFor({ state: 'detached' });

  await look(page, true);
  await page.getByTestId('session-parked').waitFor();
  await page.locator('[data-testid=terminal-end]', { hasText: 'put away' }).waitFor({ state: 'attached' });
  await look(page, false);
  await page.getByTestId('session-parked').getByRole('button').click();
  await page.getByTestId('session-parked').waitFor({ state: 'detached' });
  await page.locator('[data-testid="step-namespace"][data-state="done"]').waitFor();
  await page.getByTestId('node-host1/kon').waitFor();
  expect(faults).toEqual([]);
});

test('a session that has had its time counts down, and says why it is over', async () => {
  const { page, faults } = await open();
  await begin(page, 'one-namespace');
  await page.locator('[data-testid=session-ends][data-why=total]').waitFor({ timeout: 90_000 });
  expect(await page.getByTestId('session-left').textContent()).toMatch(/^0:(0\d|1[0-2])$/);
  await page.getByTestId('session-gone').getByText('as long as this server allows').waitFor();
  await page.getByTestId('session-gone').getByRole('button').click();
  await page.locator('[data-testid=connection][data-state=live]').waitFor();
  expect(faults).toEqual([]);
});
