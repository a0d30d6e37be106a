// A whole step without a mouse: from the home page into a lab, through a
// prediction, a terminal, the picture and a menu. Where the keyboard is can be
// seen at every stop, and it is never lost.
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { kabel } from './kabel';

const { open } = kabel();

/** What has the keyboard: its testid, else its name or text. */
const held = (page: Page): Promise<string> =>
  page.evaluate(() => {
    const e = document.activeElement;
    if (!e || e === document.body) return 'nothing';
    return e.getAttribute('data-testid') ?? e.getAttribute('aria-label') ?? e.id ?? e.tagName;
  });

/** Whether one sees that it has it: a ring, or a cursor in a text. */
const seen = (page: Page): Promise<boolean> =>
  page.evaluate(() => {
    const e = document.activeElement;
    if (!e || e === document.body) return false;
    if (e.matches('.xterm-helper-textarea')) return document.querySelector('.xterm-cursor') !== null;
    // What is small or drawn shows it on what it belongs to.
    const around = [e, e.parentElement, e.closest('label, [role=treeitem], [role=group]')];
    const ringed = (one: Element | null): boolean => {
      if (!one) return false;
      const s = getComputedStyle(one);
      return (s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== 'none';
    };
    const drawn = e.closest('svg') !== null && e.matches(':focus-visible');
    return drawn || around.some(ringed);
  });

/** Presses a key until something has the keyboard; every stop on the way must be seen. */
async function go(page: Page, to: string, key = 'Tab'): Promise<void> {
  const stops: string[] = [];
  for (let i = 0; i < 80; i++) {
    await page.keyboard.press(key);
    const at = await held(page);
    stops.push(at);
    // Past its end the page hands the keyboard to the browser's own bar.
    if (at !== 'nothing') expect(await seen(page), `the focus on ${at} is not seen`).toBe(true);
    if (at === to) return;
  }
  expect.fail(`${key} does not lead to ${to}, but to ${stops.join(', ')}`);
}

test('a step is done by keyboard alone, and the keyboard is never lost', async () => {
  const { page, faults } = await open();
  const step = (id: string, state: string): Promise<void> =>
    page.locator(`[data-testid="step-${id}"][data-state="${state}"]`).waitFor();
  await page.getByTestId('start-one-namespace').waitFor();
  await go(page, 'start-one-namespace');
  await page.keyboard.press('Enter');
  await page.getByTestId('run-namespace').waitFor();
  expect(await held(page)).toBe('content');

  // A prediction, and the step by its button; the next one is where the reader goes on.
  await go(page, 'predict-namespace-nothing');
  await page.keyboard.press('ArrowDown');
  await expect.poll(() => page.getByTestId('predict-namespace-only-lo').isChecked()).toBe(true);
  expect(await held(page)).toBe('predict-namespace-only-lo');
  await go(page, 'run-namespace');
  await page.keyboard.press('Enter');
  await step('namespace', 'done');
  await expect
    .poll(() => page.evaluate(() => document.activeElement?.closest('[data-testid=step-cable]') !== null))
    .toBe(true);
  expect(await seen(page)).toBe(true);

  // A terminal: open it, type, and back out of it.
  await go(page, 'terminal-open-host1');
  await page.keyboard.press('Enter');
  await page.locator('.xterm-rows').getByText('host1').first().waitFor();
  await expect.poll(() => page.evaluate(() => document.activeElement?.className)).toContain('xterm');
  expect(await seen(page)).toBe(true);
  await page.keyboard.type('ip link add veth1 type veth peer name veth2\n');
  await step('cable', 'done');
  await page.keyboard.press('F6');
  expect(await held(page)).toBe('terminal-tab-host1');

  // In the picture from the machine down to its namespace.
  await go(page, 'node-host1', 'Shift+Tab');
  await go(page, 'node-host1/kon', 'ArrowDown');
  await page.keyboard.press('Enter');
  await page.getByTestId('inspector').waitFor();
  expect(await held(page)).toBe('node-host1/kon');

  // Along a cable: C goes to it, and again to its other end; it is chosen as a thing of its own.
  const cable = 'cable-item-host1:veth1=host1:veth2';
  await go(page, 'link-host1:veth1', 'ArrowUp');
  await go(page, cable, 'c');
  expect(await page.getByTestId(cable).getAttribute('aria-label')).toBe(
    'cable from host1 veth1 to host1 veth2, down',
  );
  expect(await page.locator('.ring').count()).toBeGreaterThan(0);
  await page.keyboard.press('Enter');
  await page.locator('[data-testid="inspector"][data-of="host1:veth1=host1:veth2"]').waitFor();
  expect(await held(page)).toBe(cable);
  await go(page, 'link-host1:veth2', 'c');
  expect(await page.locator('.ring').count()).toBe(0);
  expect(await page.getByTestId('topology-said').textContent()).toBe('veth2 on host1');

  // What has the keyboard is deleted: it goes to what is nearest.
  await go(page, cable, 'ArrowRight');
  await page.keyboard.press('Delete');
  await page.getByTestId('link-host1:veth1').waitFor({ state: 'detached' });
  await expect.poll(() => held(page)).toBe('node-host1');

  // A menu gives the keyboard back to what opened it.
  await go(page, 'view', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await expect.poll(() => held(page)).toMatch(/^preset-/);
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Escape');
  await expect.poll(() => held(page)).toBe('view');

  expect(faults).toEqual([]);
});
