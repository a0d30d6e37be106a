// Model 2 by the mouse alone, in Chromium on a real kernel; then all of it undone.
import type { Locator, Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { facts } from '../src/build/facts';
import type { Snapshot } from '../src/wire';
import { kabel } from './kabel';

const { open, begin, call } = kabel();

/** Where one presses a thing of the picture: its name, or the box of an interface. */
function thing(page: Page, id: string): Locator {
  return id.includes(':')
    ? page.locator(`[data-testid="link-${id}"] rect.box`).first()
    : page.locator(`[data-testid="node-${id}"] text.title`);
}

const waiting = { timeout: 15_000 };

async function middle(place: Locator): Promise<[number, number]> {
  await place.waitFor();
  const box = await place.boundingBox();
  if (!box) throw new Error('it is not drawn');
  return [box.x + box.width / 2, box.y + box.height / 2];
}

/** Once the picture stands still. */
async function still(page: Page): Promise<void> {
  const at = (): Promise<string | null> =>
    page.locator('[data-testid=topology] > g').getAttribute('transform');
  let before = '';
  await expect
    .poll(async () => {
      const now = (await at()) ?? '';
      const same = now === before;
      before = now;
      return same;
    }, waiting)
    .toBe(true);
}

async function choose(page: Page, id: string, offer: string): Promise<void> {
  await still(page);
  const [x, y] = await middle(thing(page, id));
  await page.mouse.click(x, y, { button: 'right' });
  await page.getByTestId(`offer-${offer}`).click();
}

async function run(page: Page, values: Record<string, string> = {}): Promise<void> {
  for (const [name, value] of Object.entries(values)) await page.getByTestId(`field-${name}`).fill(value);
  await page.getByTestId('build-run').click();
  await page.getByTestId('build-form').waitFor({ state: 'detached' });
}

/** Draws from the plug that a thing shows under the pointer. */
async function draw(page: Page, from: string, to: string): Promise<void> {
  await still(page);
  await page.mouse.move(...(await middle(thing(page, from))));
  await page.mouse.move(...(await middle(page.getByTestId(`plug-${from}`))));
  await page.mouse.down();
  await page.mouse.move(...(await middle(thing(page, to))), { steps: 4 });
  await page.mouse.up();
}

const done = (page: Page, step: string): Promise<void> =>
  page.locator(`[data-testid="step-${step}"][data-state="done"]`).waitFor();

async function ask(page: Page, step: string): Promise<void> {
  const probes = page.locator(`[data-testid="step-${step}"] .probe button`);
  for (const one of await probes.all()) {
    await one.click();
    await expect.poll(() => one.isEnabled(), { timeout: 30_000 }).toBe(true);
  }
}

test('model 2 is built with the mouse and undone', async () => {
  const { page, faults } = await open();
  await page.emulateMedia({ reducedMotion: 'reduce' }); // what is aimed at stands still
  const { path, key } = await begin(page, 'one-host-bridge');
  const world = (): Promise<Snapshot> => call<Snapshot>(key, 'GET', `${path}/topology`);
  const state = async (): Promise<unknown> => {
    const s = await world();
    const nodes = (s.nodes ?? []).map((n) => ({
      id: n.id,
      links: n.links?.map((l) => [l.name, l.kind, l.up, l.carrier, l.master, l.mtu, l.addresses]),
      routes: n.routes,
    }));
    return { nodes, facts: [...facts(s, 'host1')].toSorted() };
  };
  await page.getByTestId('build-container').waitFor();
  const beginning = await state();

  // Names and addresses are those that the lab proposes.
  for (const name of ['kon1', 'kon2']) {
    await page.getByTestId('build-container').click();
    expect(await page.getByTestId('build-commands').textContent()).toContain(`ip netns add ${name}`);
    await run(page);
  }
  await done(page, 'containers');

  await draw(page, 'host1/kon1', 'host2');
  expect(await page.getByTestId('build-form').count()).toBe(0);
  await draw(page, 'host1/kon1', 'host1:eth0'); // which is in host1
  await run(page);
  await choose(page, 'host1/kon2', 'connect');
  await run(page);
  await done(page, 'cables');

  for (const [node, link] of [
    ['host1/kon1', 'veth11'],
    ['host1/kon2', 'veth21'],
  ] as const) {
    await choose(page, `${node}:${link}`, 'address');
    await run(page);
    await choose(page, `${node}:${link}`, 'plug');
    await page.locator(`[data-testid="link-${node}:${link}"][data-up=true]`).waitFor();
    await choose(page, node, 'up');
  }
  await done(page, 'inside');

  await page.getByTestId('build-bridge').click();
  await run(page);
  await draw(page, 'host1:veth10', 'host1:br0');
  await page.locator('[data-testid="link-host1:veth10"][data-master=br0]').waitFor();
  await choose(page, 'host1:veth20', 'attachTo');
  await done(page, 'bridge');

  await choose(page, 'host1:br0', 'up');
  await choose(page, 'host1:veth10', 'plug');
  await page.locator('[data-testid="link-host1:veth10"][data-up=true]').waitFor();
  await choose(page, 'host1:veth20', 'plug');
  await done(page, 'switch-on');
  await ask(page, 'talk');
  await done(page, 'talk');
  await ask(page, 'host-apart');
  await done(page, 'host-apart');

  // What the kernel would not take is said before it is sent.
  await choose(page, 'host1:br0', 'address');
  await page.getByTestId('field-address').fill('172.16.0.300/24');
  expect(await page.getByTestId('build-run').isDisabled()).toBe(true);
  await run(page, { address: '172.16.0.1/24' });
  await ask(page, 'bridge-address');
  await done(page, 'bridge-address');
  for (const node of ['host1/kon1', 'host1/kon2']) {
    await choose(page, node, 'route');
    await run(page);
  }
  await ask(page, 'default-routes');
  await done(page, 'default-routes');

  // A kernel may begin with either.
  const filtered = (await world()).nodes?.[0]?.sysctls?.['net.bridge.bridge-nf-call-iptables'];
  if (filtered !== '1') await choose(page, 'host1', 'bridgeFilter');
  await choose(page, 'host1', 'drop');
  await ask(page, 'policy-drop');
  await done(page, 'policy-drop');
  await choose(page, 'host1', 'forward');
  await ask(page, 'forward-is-not-it');
  await done(page, 'forward-is-not-it');
  await choose(page, 'host1', 'noForward');
  await choose(page, 'host1', 'accept');
  await ask(page, 'repair');
  await done(page, 'repair');
  await page.getByTestId('finished').waitFor();

  const undo = page.getByTestId('build-undo');
  while (await undo.isEnabled()) {
    const what = await undo.getAttribute('title');
    await undo.click();
    await expect.poll(() => undo.getAttribute('title'), waiting).not.toBe(what);
    await page.getByTestId('build-undo').waitFor();
  }
  expect(await page.getByTestId('build-refusal').count()).toBe(0);
  expect(await state()).toEqual(beginning);
  expect(faults).toEqual([]);
});

test('a tip stands beside the tools until something is built; that is undone after a reload, and not in another world', async () => {
  const { page, faults } = await open();
  await begin(page, 'one-host-bridge');
  await page.getByTestId('build-hint').waitFor();
  await page.getByTestId('view').click();
  await page.getByTestId('preset-projector').click();
  expect(await page.getByTestId('build-hint').count()).toBe(0);
  await page.getByTestId('preset-learner').click();
  await page.keyboard.press('Escape');
  await page.getByTestId('build-hint').waitFor();

  await page.getByTestId('build-container').click();
  await run(page);
  await page.getByTestId('node-host1/kon1').waitFor();
  expect(await page.getByTestId('build-hint').count()).toBe(0);
  await page.reload();
  await page.getByTestId('node-host1/kon1').waitFor();
  await page.getByTestId('build-undo').click();
  await page.getByTestId('node-host1/kon1').waitFor({ state: 'detached' });
  await page.getByTestId('build-redo').click();
  await page.getByTestId('node-host1/kon1').waitFor();

  await page.getByTestId('reset').click();
  await page.getByTestId('confirm').click();
  await page.getByTestId('node-host1/kon1').waitFor({ state: 'detached' });
  await page.reload();
  await page.getByTestId('build-list').click();
  await page.getByTestId('build-lost').waitFor();
  expect(await page.getByTestId('build-undo').isDisabled()).toBe(true);
  expect(faults).toEqual([]);
});
