// Several terminals in sight, on the whole page, by mouse and by keys.
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { kabel } from './kabel';

const { open, begin } = kabel();

/** The terminals in sight, by where they are on the screen. */
const views = (page: Page): Promise<{ node: string; x: number; y: number; active: boolean }[]> =>
  page.locator('[data-testid=terminal-views] > [role=tabpanel]:not([hidden])').evaluateAll((all) =>
    all
      .map((e) => {
        const { x, y } = e.getBoundingClientRect();
        const node = (e.getAttribute('data-testid') ?? '').replace('terminal-', '');
        return { node, x: Math.round(x), y: Math.round(y), active: e.getAttribute('data-active') === 'true' };
      })
      .sort((a, b) => a.y - b.y || a.x - b.x),
  );

/** Waits until so many are in sight and every one of them shows a prompt. */
async function expectPrompts(page: Page, count: number): Promise<void> {
  const prompts = (): Promise<number> =>
    page
      .locator('[data-testid=terminal-views] > :not([hidden]) .xterm-rows')
      .evaluateAll((all) => all.filter((rows) => /[#$]/.test(rows.textContent ?? '')).length);
  await expect.poll(prompts, { timeout: 20_000 }).toBe(count);
}

async function expectLine(page: Page, line: string): Promise<void> {
  await page
    .locator('[role=tabpanel][data-active=true] .xterm-rows > div', { hasText: line })
    .first()
    .waitFor();
}

test('side by side, stacked, two by two; what is typed goes to the view that has the keyboard', async () => {
  const { page, faults } = await open();
  await begin(page, 'one-namespace');
  await page.getByTestId('terminal-open-host1').click();
  await expectPrompts(page, 1);

  await page.keyboard.press('Control+Shift+E');
  await expectPrompts(page, 2);
  const [a, b] = await views(page);
  expect([a?.y, b?.active, a?.active]).toEqual([b?.y, true, false]);
  await page.keyboard.type('echo second-$((1+1))\n');
  await expectLine(page, 'second-2');

  await page.getByTestId('terminal-new').selectOption('host2'); // in the place of the active one
  await expectPrompts(page, 2);
  expect((await views(page)).map((v) => v.node)).toEqual(['host1', 'host2']);
  await page.keyboard.press('Control+Shift+L');
  await page.keyboard.type('echo on-$(hostname)\n');
  await expectLine(page, 'on-host1');

  await page.getByTestId('terminal-split-rows').click();
  await page.keyboard.press('Control+Shift+O');
  await expectPrompts(page, 4);
  expect(new Set((await views(page)).map((v) => v.x)).size).toBe(2);
  expect(new Set((await views(page)).map((v) => v.y)).size).toBe(2);
  expect(await page.getByTestId('terminal-split-rows').isDisabled()).toBe(true);

  // Of those, as many rows and columns as there is room.
  await page.keyboard.press('Control+Shift+X');
  await expect.poll(async () => (await views(page))[0]?.y ?? 999).toBeLessThan(200);
  await page.keyboard.type('clear; stty size\n');
  const rows = await page
    .locator('[role=tabpanel][data-active=true] .xterm-rows')
    .evaluate((e) => e.childElementCount);
  expect(rows).toBeGreaterThan(12);
  await expectLine(page, `${String(rows)} `);

  await page.reload();
  await expectPrompts(page, 4);
  await expect.poll(async () => (await views(page))[0]?.y ?? 999).toBeLessThan(200);
  await page.getByTestId('maximise-terminal').click();
  await expect.poll(async () => (await views(page))[0]?.y ?? 0).toBeGreaterThan(300);
  await page.getByTestId('node-host1').waitFor();

  await page.locator('[data-testid=terminal-hide-host1]:visible').first().click();
  await page.locator('[data-testid=terminal-hide-host1]:visible').first().click();
  await expectPrompts(page, 2);
  expect(await page.locator('[data-testid^="terminal-tab-"]').count()).toBe(5);
  expect(faults).toEqual([]);
});
