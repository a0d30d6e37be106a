// The picture as text, as files and by keyboard; a cable and what changes in the inspector.
import { readFileSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { kabel } from './kabel';

const { open, begin, call } = kabel();

async function saved(page: Page, format: string): Promise<Buffer> {
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByTestId(`export-${format}`).click(),
  ]);
  return readFileSync(await download.path());
}

test('the network is read as text, heard when it changes, and taken away as a file', async () => {
  const { page, faults } = await open();
  const { path, key } = await begin(page, 'one-namespace');
  await page.getByTestId('topology').waitFor();

  await page.getByTestId('topology-text-toggle').click();
  const text = page.getByTestId('topology-text');
  await text.getByText('eth0 (veth): up; 10.0.0.10/24').waitFor();
  const cable = ['ip link add veth1 type veth peer name veth2', 'ip link set veth2 netns kon'];
  for (const command of ['ip netns add kon', ...cable])
    await call(key, 'POST', `${path}/ops`, { node: 'host1', command });
  await text.getByText('veth1 (veth): down; cable to veth2 on host1/kon').waitFor();
  await page.getByTestId('topology-said').getByText('New namespace kon').waitFor({ state: 'attached' });
  await page.getByTestId('topology-text-toggle').click();

  await page.getByTestId('topology-export-toggle').click();
  const svg = (await saved(page, 'svg')).toString();
  expect(svg).not.toMatch(/var\(|class=|light-dark/);
  expect(svg).toContain('@font-face');
  // A PNG can only be made of one that is well-formed.
  expect((await saved(page, 'png')).subarray(1, 4).toString()).toBe('PNG');
  expect((await saved(page, 'dot')).toString()).toContain('"host1:veth1" -- "host1/kon:veth2"');
  await page.keyboard.press('Escape');

  await page.getByTestId('node-host1').press('ArrowRight');
  await page.keyboard.press('?');
  await page.getByTestId('topology-legend').waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('Enter');
  const inspector = page.getByTestId('inspector');
  await inspector.waitFor();

  // A straight cable has no width, so that there is nothing that playwright would click.
  await page
    .locator('[data-testid="cable-veth host1/kon:veth2 host1:veth1"] + .reach')
    .dispatchEvent('click');
  await inspector.getByText('Nothing passes: veth1 on host1 is down.').waitFor();
  // Each value of either end with the command that shows it.
  await inspector.getByText('ip -n kon -d link show dev veth2').first().waitFor();
  await inspector.getByText('ip -d link show dev veth1').first().waitFor();
  await call(key, 'POST', `${path}/ops`, { node: 'host1', command: 'ip link set veth1 up' });
  await inspector.locator('.fresh0, .fresh1', { hasText: 'up, no signal' }).waitFor();
  expect(faults).toEqual([]);
});
