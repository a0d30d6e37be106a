// A learner hits limits of the world, and its own page says so.
import { expect, test } from 'vitest';
import { kabel } from './kabel';

const { open, begin, call } = kabel();

test('the page says which limit was hit, once', async () => {
  const { page, faults } = await open();
  const { path, key } = await begin(page, 'one-namespace');
  const type = (line: string) =>
    call<{ exit_code: number }>(key, 'POST', `${path}/exec`, { node: 'host1', argv: ['bash', '-c', line] });
  const memory = page.getByRole('status').locator('[data-kind="memory"]');
  const files = page.getByRole('status').locator('[data-kind="files"]');

  await type('head -c 500M /dev/zero | tail -c 500M >/dev/null');
  await memory.waitFor();
  expect(await memory.textContent()).toContain('This world used all of its 192 MiB of memory.');
  await type('head -c 100M /dev/zero >/root/big');
  await files.waitFor();
  expect(await files.textContent()).toContain('The files on host1 fill all of their 32 MiB.');
  if (process.env.KABEL_PICTURES) await page.screenshot({ path: `${process.env.KABEL_PICTURES}/limits.png` });

  await page.getByRole('button', { name: 'Dismiss: This world used all' }).click();
  await memory.waitFor({ state: 'detached' });
  await page.reload();
  await files.waitFor();
  expect(await memory.count()).toBe(0);

  await type('head -c 500M /dev/zero | tail -c 500M >/dev/null');
  await memory.waitFor();
  expect(faults).toEqual([]);
});
