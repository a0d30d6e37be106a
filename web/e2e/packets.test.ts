// The packets pane in Chromium: against packets that the test makes up, and
// against those of a real world.
import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import type { Lab } from '../src/wire';
import { kabel } from './kabel';
import { fakePackets, way, type Fake } from './packets';

const { open, begin, call } = kabel();

interface Watching {
  page: Page;
  faults: string[];
  fake: Fake;
}

/** A lab's page with its packets pane open, and packets made up. */
async function watch(): Promise<Watching> {
  const { page, faults } = await open();
  const fake = await fakePackets(page);
  await begin(page, 'one-host-bridge');
  await page.getByTestId('packets-toggle').click();
  await page.locator('[data-testid=packets][data-state=live]').waitFor();
  return { page, faults, fake };
}

const rowsShown = (page: Page): Promise<number> => page.locator('[data-testid^="packets-row-"]').count();

test('fifty thousand packets: few of them are drawn, any of them is reached, and the end is followed', async () => {
  const { page, faults, fake } = await watch();
  for (let n = 0; n < 50; n++) fake.batch(Array.from({ length: 1000 }, () => fake.row({}, [])));
  await page.getByTestId('packets-row-50000').waitFor();
  expect(await rowsShown(page)).toBeLessThan(50);

  const list = page.getByTestId('packets-list');
  for (const part of [0, 0.25, 0.5, 0.75]) {
    await list.evaluate((e, p) => (e.scrollTop = p * e.scrollHeight), part);
    await page.getByTestId(`packets-row-${String(Math.round(part * 50_000) + 2)}`).waitFor();
    expect(await rowsShown(page)).toBeLessThan(50);
  }
  // Who reads in the middle is left there, while the oldest are dropped and new ones come.
  const held = page.getByTestId('packets-row-37502');
  const before = (await held.boundingBox())?.y ?? NaN;
  for (let n = 0; n < 5; n++) fake.batch(Array.from({ length: 100 }, () => fake.row({}, [])));
  await page.getByText('500 new packets').waitFor();
  await page.getByTestId('packets-dropped').getByText('500').waitFor();
  // Heights of two million points are rounded by the browser.
  expect(Math.abs(((await held.boundingBox())?.y ?? NaN) - before)).toBeLessThan(1.5);

  await page.getByTestId('packets-newest').click();
  await page.getByTestId('packets-row-50500').waitFor();
  fake.batch([fake.row({}, [])]);
  await page.getByTestId('packets-row-50501').waitFor();
  expect(faults).toEqual([]);
});

test('a row unfolds to where the packet was seen, and is replaced where it stands', async () => {
  const { page, faults, fake } = await watch();
  const sent = fake.row({ state: 'in-flight' });
  const [first, ...others] = sent.sightings;
  fake.batch([{ ...sent, sightings: first ? [first] : [] }, fake.row()]);
  await page.getByTestId('packets-fold-1').click();
  fake.batch([
    {
      ...sent,
      state: 'answered',
      sightings: [first, ...others.map((s) => ({ ...s, changes: [{ field: 'ttl', from: '64', to: '63' }] }))],
    } as typeof sent,
  ]);
  await page.locator('[data-testid=packets-row-1][data-state=answered]').getByText('answered').waitFor();
  const seen = page.locator('[data-testid^="packets-sighting-"]');
  await expect.poll(() => seen.count()).toBe(4);
  expect(await seen.nth(0).innerText()).toMatch(/0 µs\s+host1\/kon1:veth11\s+sent/);
  expect(await seen.nth(1).innerText()).toMatch(/\+7 µs\s+host1:veth10\s+received\s+TTL 64 → 63/);
  expect(faults).toEqual([]);
});

test('the layers and the bytes of a sighting light each other up, by mouse and by keys', async () => {
  const { page, faults, fake } = await watch();
  fake.batch([fake.row()]);
  await page.getByTestId('packets-row-1').click();
  const lit = (): Promise<string> =>
    page
      .locator('[data-testid=packets-hex] .byte.lit')
      .evaluateAll((bytes) => bytes.map((b) => b.textContent).join(' '));
  await page.getByTestId('packets-layer-1-4').hover();
  await expect.poll(lit).toBe('40'); // the time to live
  await page.locator('[data-byte="26"]').first().hover();
  await expect.poll(lit).toBe('ac 10 00 02');
  await page.locator('[data-byte="26"]').first().click();
  const chosen = page.locator('[data-testid=packets-layers] [aria-selected=true]');
  expect(await chosen.innerText()).toMatch(/Source\s+172\.16\.0\.2/);
  await page.mouse.move(5, 5);

  await page.getByTestId('packets-layers').focus();
  await page.keyboard.press('ArrowDown');
  await expect.poll(lit).toBe('ac 10 00 03');
  await page.keyboard.press('ArrowLeft'); // to its layer
  await page.keyboard.press('ArrowLeft'); // which is folded
  await page.getByTestId('packets-layer-1-4').waitFor({ state: 'detached' });
  await page.keyboard.press('Escape');
  await page.getByTestId('packets-detail').waitFor({ state: 'detached' });

  fake.dropped.add(2);
  await page.getByTestId('packets-list').focus();
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.getByTestId('packets-detail-dropped').waitFor();
  expect(faults.filter((f) => !f.includes('404'))).toEqual([]);
});

test('a filter that is wrong says where, and what may have been meant', async () => {
  const { page, faults, fake } = await watch();
  await page.getByTestId('packets-filter').fill('icmp or hots 10.0.0.1');
  await page.keyboard.press('Enter');
  await expect.poll(() => fake.heard).toEqual([{ type: 'filter', filter: 'icmp or hots 10.0.0.1' }]);
  fake.say({ type: 'filter-error', position: 8, message: 'no such word', suggestion: 'host' });
  await expect.poll(() => page.getByTestId('packets-fault-at').innerText()).toBe('hots');
  await page.getByTestId('packets-suggestion').click();
  await expect.poll(() => fake.heard.at(-1)).toEqual({ type: 'filter', filter: 'icmp or host 10.0.0.1' });
  fake.say({ type: 'start', started: '', filter: 'icmp or host 10.0.0.1', snap: 256, resumed: false });
  await page.getByTestId('packets-fault').waitFor({ state: 'detached' });
  await page.getByTestId('packets-examples').selectOption('tcp port 80');
  await expect.poll(() => fake.heard.at(-1)).toEqual({ type: 'filter', filter: 'tcp port 80' });
  expect(faults).toEqual([]);
});

test('pause, clear, protocols, single sightings, one journey', async () => {
  const { page, faults, fake } = await watch();
  const question = fake.row();
  fake.batch([question, fake.row({ answers: question.id }), fake.row({ protocol: 'ARP' })]);
  await expect.poll(() => rowsShown(page)).toBe(3);
  await page.getByTestId('packets-pause').click();
  await expect.poll(() => fake.heard).toEqual([{ type: 'pause' }]);
  await page.getByTestId('packets-pause').click();
  await expect.poll(() => fake.heard.at(-1)).toEqual({ type: 'resume' });

  await page.getByTestId('packets-protocol-ARP').click();
  await expect.poll(() => rowsShown(page)).toBe(1);
  await page.getByTestId('packets-protocol-ARP').click();
  await page.getByTestId('packets-mode').check();
  await expect.poll(() => page.locator('[data-testid^="packets-sighting-"]').count()).toBe(12);
  await page.getByTestId('packets-mode').uncheck();

  await page.getByTestId('packets-list').focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('f');
  await expect.poll(() => rowsShown(page)).toBe(2);
  await page.getByTestId('packets-followed').click();
  await expect.poll(() => rowsShown(page)).toBe(3);
  await page.getByTestId('packets-clear').click();
  await page.getByTestId('packets-none').waitFor();
  expect(faults).toEqual([]);
});

test('what was lost is plain to see, and where', async () => {
  const { page, faults, fake } = await watch();
  fake.batch([fake.row()]);
  fake.batch([fake.row()], { gap: 12, lost: { kernel: 3, host: 0, hub: 12, viewer: 0 } });
  await page.getByTestId('packets-gap').getByText('12 updates left out here').waitFor();
  expect(await page.getByTestId('packets-lost-kernel').innerText()).toBe('kernel 3');
  expect(await page.getByTestId('packets-lost-host').innerText()).toBe('reader 0');
  await page.getByTestId('packets-sampled').waitFor();
  expect(faults).toEqual([]);
});

test('a broken connection goes on where it was, and closing the pane ends it', async () => {
  const { page, faults, fake } = await watch();
  fake.batch([fake.row()]);
  await page.getByTestId('packets-row-1').waitFor();
  await fake.break();
  await expect
    .poll(() => fake.asked, { timeout: 20_000 })
    .toEqual([
      { filter: '', after: null },
      { filter: '', after: '1' },
    ]);
  fake.batch([fake.row()]);
  await page.getByTestId('packets-row-2').waitFor();
  await page.getByTestId('packets-row-1').waitFor();
  await page.getByTestId('packets-toggle').click();
  await expect.poll(() => fake.closed).toBe(true);
  expect(faults.filter((f) => !f.includes('426'))).toEqual([]);
});

test('a cable shows what passes it, and a packet runs along it', async () => {
  const { page, faults } = await open();
  const fake = await fakePackets(page);
  const { path, key } = await begin(page, 'one-host-bridge');
  const lab = await call<Lab>(key, 'GET', '/api/v1/labs/one-host-bridge');
  for (const step of lab.steps) await call(key, 'POST', `${path}/steps/${step.id}/apply`);
  await page.getByTestId('link-host1/kon1:veth11').waitFor();
  await page.getByTestId('packets-toggle').click();
  await page.locator('[data-testid=packets][data-state=live]').waitFor();

  const dots = page.locator('[data-testid=packets-traffic] .dot');
  fake.batch([fake.row(), fake.row({ protocol: 'ARP' }, [['host2', 'eth0', true]])]);
  await dots.filter({ hasText: 'ICMP' }).waitFor();
  await expect.poll(() => dots.count()).toBe(0);

  await page.locator('[data-testid^="packets-cable-"][data-testid*="veth11"]').click({ force: true });
  await expect.poll(() => rowsShown(page)).toBe(1);
  expect(await page.getByTestId('packets-place').innerText()).toMatch(/veth1[01].*veth1[01]/);
  await page.getByTestId('packets-place').click();
  await expect.poll(() => rowsShown(page)).toBe(2);

  const lost = fake.row({ state: 'in-flight' }, [['host1/kon1', 'veth11', true]]);
  fake.batch([lost]);
  fake.batch([{ ...lost, state: 'gone' }]);
  await page.locator('[data-testid=packets-traffic] .cross').waitFor();

  // By keys, and without motion.
  await page.getByTestId('link-host2:eth0').focus();
  await page.keyboard.press('p');
  await expect.poll(() => rowsShown(page)).toBe(1);
  await page.emulateMedia({ reducedMotion: 'reduce' });
  await page.reload();
  await page.locator('[data-testid=packets][data-state=live]').waitFor();
  await page.getByTestId('link-host1/kon1:veth11').waitFor();
  fake.batch([fake.row()]);
  // A straight line has no area, so it counts as hidden.
  await page.locator('[data-testid=packets-traffic] .glow').first().waitFor({ state: 'attached' });
  expect(await dots.count()).toBe(0);
  expect(faults).toEqual([]);
});

test('a ping of a real world is one row with all its places, its layers are read, and a file of it is taken home', async () => {
  const { page, faults } = await open();
  const { path, key } = await begin(page, 'one-host-bridge');
  const lab = await call<Lab>(key, 'GET', '/api/v1/labs/one-host-bridge');
  for (const step of lab.steps) await call(key, 'POST', `${path}/steps/${step.id}/apply`);
  await page.getByTestId('link-host1/kon1:veth11').waitFor();
  await page.getByTestId('packets-toggle').click();
  await page.locator('[data-testid=packets][data-state=live]').waitFor();

  await page.getByTestId('packets-filter').fill('icmp');
  await page.keyboard.press('Enter');
  await page.locator('[data-testid=packets-filter-remove]').waitFor(); // it is the server's now
  await call(key, 'POST', `${path}/probes`, { from: 'host1/kon1', kind: 'ping', to: '172.16.0.3', count: 1 });
  const request = page.locator('[data-testid^="packets-row-"][data-state=answered]');
  await expect.poll(() => request.count(), { timeout: 20_000 }).toBe(1);
  await expect.poll(() => rowsShown(page)).toBe(2); // and its answer
  expect(await request.innerText()).toMatch(/ICMP\s+172\.16\.0\.2\s*→\s*172\.16\.0\.3/);

  await request.getByTestId(/^packets-fold-/).click();
  const seen = page.locator('[data-testid^="packets-sighting-"]');
  await expect.poll(() => seen.count()).toBeGreaterThanOrEqual(way.length);
  const places = await seen.locator('.place').allInnerTexts();
  for (const [node, link] of way) expect(places).toContain(`${node}:${link}`);

  await seen.first().click();
  await page.getByTestId('packets-layers').getByText('ICMP', { exact: false }).first().waitFor();
  expect(await page.locator('[data-testid=packets-hex] .byte').count()).toBe(98);

  const saved = page.waitForEvent('download');
  await page.getByTestId('packets-save').click();
  const file = await readFile(await (await saved).path());
  expect(file.readUInt32LE(0)).toBe(0x0a0d0d0a); // a section header of pcapng

  await page.getByTestId('packets-filter').fill('icmp or hots 10.0.0.1');
  await page.keyboard.press('Enter');
  await expect.poll(() => page.getByTestId('packets-fault-at').innerText()).toBe('hots');
  expect(faults).toEqual([]);
});
