// A classroom's own network: the page comes over plain HTTP, by a name that no browser trusts.
import { expect, test } from 'vitest';
import { classroom } from './chromium';
import { kabel } from './kabel';

const { open, begin } = kabel();

test('over plain HTTP everything works, and the page says that it is not encrypted', async () => {
  const { page, faults } = await open({ host: classroom });
  expect(await page.evaluate(() => isSecureContext)).toBe(false);
  await page.getByTestId('insecure').click();
  await page.getByTestId('insecure-text').getByText('plain HTTP').waitFor();
  await page.keyboard.press('Escape');

  const { key } = await begin(page, 'one-namespace');
  expect(key).not.toBe('');
  await page.getByTestId('insecure').waitFor();
  await page.locator('[data-testid=connection][data-state=live]').waitFor();
  await page.getByTestId('run-namespace').click();
  await page.locator('[data-testid="step-namespace"][data-state=done]').waitFor();

  // The stream, packets and terminals come by websockets with the same cookie.
  await page.getByTestId('packets-toggle').click();
  await page.locator('[data-testid=packets][data-state=live]').waitFor();
  await page.getByTestId('terminal-open-host1').click();
  await page.locator('.xterm-rows').getByText('host1').first().waitFor();

  // Without the clipboard's own API, what is copied comes out where it is pasted.
  const copy = page.locator('[data-testid^="step-cable"] button.copy').first();
  await copy.click();
  await page.getByTestId('said').getByText('Copied').waitFor({ state: 'attached' });
  await page.getByTestId('packets-filter').focus();
  await page.keyboard.press('Control+V');
  expect(await page.getByTestId('packets-filter').inputValue()).toContain('ip link add veth1');

  // The cookie is still ours after a reload.
  await page.reload();
  await page.locator('[data-testid="step-namespace"][data-state=done]').waitFor();
  expect(faults).toEqual([]);
});

test('on one’s own machine nothing is said about it', async () => {
  const { page } = await open();
  await page.getByTestId('start-one-namespace').waitFor();
  expect(await page.getByTestId('insecure').count()).toBe(0);
});
