// The panes of the lab page: moved by mouse and by keys, kept, and one by one on a phone.
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { kabel } from './kabel';
import { fakePackets } from './packets';

const { open, begin } = kabel();

interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}
async function box(page: Page, pane: string): Promise<Box> {
  const found = await page.getByTestId(`pane-${pane}`).boundingBox();
  if (!found) throw new Error(`${pane} is not in sight`);
  return found;
}
const inSight = (page: Page): Promise<(string | null)[]> =>
  page
    .locator('section[data-testid^="pane-"]:not([hidden])')
    .evaluateAll((all) => all.map((e) => (e.getAttribute('data-testid') ?? '').replace('pane-', '')));
const focused = (page: Page): Promise<string | undefined> =>
  page.evaluate(() => document.activeElement?.closest('section[data-testid^="pane-"]')?.id);

async function choose(page: Page, menu: string, item: string): Promise<void> {
  await page.getByTestId(menu).click();
  await page.getByTestId(item).click();
}

test('a screen outlives every move, and the arrangement a reload', async () => {
  const { page, faults } = await open();
  await begin(page, 'one-namespace');
  await page.getByTestId('terminal-open-host1').click();
  const screen = page.locator('.xterm-rows');
  await expect.poll(() => screen.textContent()).toMatch(/[#$]/);
  await page.keyboard.type('echo kept-$((40+2))\n');
  await expect.poll(() => screen.textContent()).toContain('kept-42');
  const same = await page.locator('.xterm').elementHandle();

  // By mouse, to the right of the picture.
  const tab = await page.getByTestId('tab-terminal').boundingBox();
  const picture = await box(page, 'topology');
  await page.mouse.move((tab?.x ?? 0) + 10, (tab?.y ?? 0) + 10);
  await page.mouse.down();
  await page.mouse.move(picture.x + picture.width - 40, picture.y + picture.height / 2, { steps: 4 });
  await page.getByTestId('drop').waitFor();
  await page.mouse.up();
  const [left, right] = [await box(page, 'topology'), await box(page, 'terminal')];
  expect([right.y, right.x > left.x, right.height]).toEqual([left.y, true, left.height]);
  expect(await inSight(page)).toEqual(['lesson', 'topology', 'terminal', 'probe']);

  await choose(page, 'menu-terminal', 'swap-terminal-lesson');
  expect((await box(page, 'terminal')).x).toBe(0);
  await choose(page, 'menu-terminal', 'join-terminal-topology');
  await page.getByTestId('tab-topology').click();
  expect(await inSight(page)).toEqual(['lesson', 'topology', 'probe']);
  await page.getByTestId('tab-terminal').click();
  await choose(page, 'menu-terminal', 'part-terminal-bottom');
  await page.getByTestId('maximise-terminal').click();
  expect(await inSight(page)).toEqual(['terminal']);
  await page.getByTestId('maximise-terminal').click();
  await choose(page, 'menu-terminal', 'hide-terminal');
  await choose(page, 'view', 'view-terminal');
  await page.keyboard.press('Escape');

  expect(await page.locator('.xterm').evaluate((now, was) => now === was, same)).toBe(true);
  expect(await screen.textContent()).toContain('kept-42');

  const separator = page.getByTestId('separator').last();
  await separator.focus();
  const before = await box(page, 'terminal');
  await page.keyboard.press('ArrowUp');
  await expect.poll(async () => (await box(page, 'terminal')).height).toBe(before.height + 24);
  const all = await Promise.all((await inSight(page)).map((p) => box(page, p ?? '')));
  await page.reload();
  await page.locator('[data-testid="terminal-tab-host1"][data-state=live]').waitFor();
  expect(await Promise.all((await inSight(page)).map((p) => box(page, p ?? '')))).toEqual(all);
  await choose(page, 'view', 'view-reset');
  expect(await inSight(page)).toEqual(['lesson', 'topology', 'terminal']);
  expect(faults).toEqual([]);
});

test('packets behind another pane are not captured, and are there again with it', async () => {
  const { page, faults } = await open();
  const fake = await fakePackets(page);
  await begin(page, 'one-namespace');
  await page.getByTestId('packets-toggle').click();
  await page.locator('[data-testid=packets][data-state=live]').waitFor();
  fake.batch([fake.row()]);
  await page.getByTestId('packets-row-1').waitFor();
  await choose(page, 'menu-packets', 'join-packets-terminal');
  expect(fake.closed).toBe(false);
  await page.getByTestId('tab-terminal').click();
  await expect.poll(() => fake.closed).toBe(true);
  await page.getByTestId('tab-packets').click();
  await page.getByTestId('packets-row-1').waitFor();
  await expect.poll(() => fake.asked.map((a) => a.after)).toEqual([null, '1']);
  expect(faults).toEqual([]);
});

test('F6 walks through the panes, and ? shows the keys', async () => {
  const { page, faults } = await open();
  await begin(page, 'one-namespace');
  await page.getByTestId('node-host1').waitFor();
  const way: (string | undefined)[] = [];
  for (const key of ['F6', 'F6', 'F6', 'F6', 'Shift+F6']) {
    await page.keyboard.press(key);
    way.push(await focused(page));
  }
  expect(way).toEqual(['pane-lesson', 'pane-topology', 'pane-terminal', 'pane-lesson', 'pane-terminal']);
  await page.keyboard.press('?');
  await page.getByTestId('keys').getByText('Shift+F6').waitFor();
  await page.keyboard.press('Escape');
  await page.getByTestId('keys').waitFor({ state: 'hidden' });
  expect(await focused(page)).toBe('pane-terminal');
  expect(faults).toEqual([]);
});

test('large letters for a lecture; on a phone one pane at a time, and nothing to the side', async () => {
  const { page, faults } = await open();
  await begin(page, 'one-namespace');
  const letters = (): Promise<number> =>
    page.getByTestId('tab-terminal').evaluate((e) => e.getBoundingClientRect().height);
  const before = await letters();
  await choose(page, 'view', 'preset-projector');
  await page.keyboard.press('Escape');
  expect((await letters()) / before).toBeCloseTo(1.3, 1);
  expect(await inSight(page)).toEqual(['lesson', 'topology', 'packets', 'terminal']);

  await page.setViewportSize({ width: 390, height: 844 });
  await page.getByTestId('strip').waitFor();
  for (const pane of ['lesson', 'topology', 'terminal', 'packets']) {
    await page.getByTestId(`tab-${pane}`).click();
    expect(await inSight(page)).toEqual([pane]);
    const wide = await page.evaluate(() =>
      [...document.querySelectorAll('header *, section:not([hidden]) *')]
        .filter((e) => e.checkVisibility() && !e.closest('svg, .hidden'))
        .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
        .map((e) => e.outerHTML.slice(0, 80)),
    );
    expect(wide, pane).toEqual([]);
  }
  expect(faults).toEqual([]);
});
