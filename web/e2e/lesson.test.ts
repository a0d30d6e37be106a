// Learns as a person does, in Chromium: what a step says of itself is held
// against the kernel of a real world.
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { kabel } from './kabel';

const { open, begin, call } = kabel();

const done = (page: Page, step: string): Promise<void> =>
  page.locator(`[data-testid="step-${step}"][data-state="done"]`).waitFor();

/** What the page says that a step has changed, each line with its sign. */
async function changes(page: Page, step: string): Promise<string[]> {
  const place = page.getByTestId(`changes-${step}`);
  await place.waitFor();
  return place
    .locator('li')
    .evaluateAll((all) =>
      all.map((l) => `${l.getAttribute('data-sign') ?? ''} ${l.querySelector('.words')?.textContent ?? ''}`),
    );
}

test('a step that is typed is celebrated, and says what it changed in the kernel', async () => {
  const { page, faults } = await open();
  const { path, key } = await begin(page, 'one-namespace');
  const run = async (line: string): Promise<string> =>
    (
      await call<{ stdout: string }>(key, 'POST', `${path}/exec`, { node: 'host1', argv: ['sh', '-c', line] })
    ).stdout.trim();

  await page.getByTestId('type').first().click();
  await page.locator('.xterm-rows').getByText('ip netns add').waitFor();
  await page.keyboard.press('Enter');
  await done(page, 'namespace');
  await expect.poll(() => page.getByTestId('news').textContent()).toContain('Step 1 is done.');
  expect(await changes(page, 'namespace')).toEqual([`+ new: New namespace ${await run('ip netns')}`]);

  // By hand otherwise, and with more than the step asks for.
  await run('ip link add veth1 type veth peer name veth2');
  await done(page, 'cable');
  await run('ip link set veth2 netns kon');
  await done(page, 'move');
  await run('ip link set veth1 mtu 1400; ip -n kon addr add 172.16.0.1/32 dev veth2');
  await done(page, 'address');
  const said = await changes(page, 'address');
  expect(said).toContain(`~ changed: MTU of veth1: 1500 → ${await run('cat /sys/class/net/veth1/mtu')}`);
  const address = await run("ip -n kon -o addr show dev veth2 | awk '{print $4}'");
  expect(said).toContain(`+ new: Address ${address} on veth2`);
  expect(said).toHaveLength(2);

  // A reload does not forget it, and a line leads to the picture.
  await page.reload();
  await page.getByTestId('step-address').locator('.head').click();
  await page.getByTestId('changes-address').locator('summary').click();
  expect(await changes(page, 'address')).toEqual(said);
  await page.getByTestId('changes-address').getByText('on veth2').click();
  await page.getByTestId('changes-address').getByText('ip -n kon addr show dev veth2').waitFor();
  expect(faults).toEqual([]);
});

test('the hint is there for who asks, and follows what is done', async () => {
  const { page } = await open();
  const { path, key } = await begin(page, 'one-namespace');
  const words = page.getByTestId('hint-words');
  expect(await words.count()).toBe(0);
  await page.getByTestId('stuck-namespace').click();
  const first = await words.textContent();
  await call(key, 'POST', `${path}/exec`, { node: 'host1', argv: ['ip', 'netns', 'add', 'kontainer'] });
  await expect.poll(() => words.last().textContent()).not.toBe(first);
  expect(await words.last().textContent()).toContain('kontainer');
});

test('a command is tried before it is shown, run alone, and says in words why it fails', async () => {
  const { page } = await open();
  const { path, key } = await begin(page, 'one-namespace');
  await page.getByTestId('try-first').click();
  expect(await page.getByTestId('line-namespace-0').count()).toBe(0);
  await page.getByTestId('show-namespace').click();
  await page.getByTestId('line-namespace-0').getByRole('button', { name: 'Run only this' }).click();
  await done(page, 'namespace');

  await call(key, 'POST', `${path}/exec`, {
    node: 'host1',
    argv: ['ip', 'link', 'add', 'veth1', 'type', 'bridge'],
  });
  await page.getByTestId('show-cable').click();
  await page.getByTestId('line-cable-0').getByRole('button', { name: 'Run only this' }).click();
  await page.getByTestId('line-cable-0').getByText('It is there already. (EEXIST)').waitFor();
});

test('a term explains itself by keyboard', async () => {
  const { page, faults } = await open();
  await begin(page, 'one-namespace');
  const term = page.locator('[data-testid="step-namespace"] dfn').first();
  const card = page.getByTestId('term');
  await term.focus();
  await card.filter({ visible: true }).waitFor();
  expect(await card.textContent()).toMatch(/network namespace.*A network stack of its own/s);
  expect(await term.getAttribute('aria-describedby')).toBe(await card.getAttribute('id'));
  await page.keyboard.press('Escape');
  await card.filter({ visible: true }).waitFor({ state: 'detached' });
  await page.keyboard.press('Enter');
  await card.filter({ visible: true }).waitFor();
  await page.keyboard.press('Tab');
  await expect.poll(() => term.getAttribute('aria-describedby')).toBeNull();
  expect(faults).toEqual([]);
});
