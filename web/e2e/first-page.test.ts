// Plays the labs as a person does, in Chromium, against the real server and a
// real kernel, and holds the page against what `ip` says inside the world.
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import type { Lab, Session } from '../src/wire';
import { kabel } from './kabel';

const { open, begin, call } = kabel();

interface IpAddr {
  ifname: string;
  flags: string[];
  address: string;
  addr_info: { local: string; prefixlen: number }[];
}

/** What `ip -j addr` says in every node, in the form that the page shows. */
async function kernelSays(path: string, key: string): Promise<string[]> {
  const session = await call<Session>(key, 'GET', path);
  const out: string[] = [];
  for (const node of session.nodes) {
    const ran = await call<{ stdout: string }>(key, 'POST', `${path}/exec`, {
      node,
      argv: ['ip', '-j', 'addr'],
    });
    for (const l of JSON.parse(ran.stdout) as IpAddr[]) {
      // What every switch has besides its ports is in the text view only.
      if (node === 'sw' && ['lo', 'br0'].includes(l.ifname)) continue;
      const addresses = l.addr_info.map((a) => `${a.local}/${String(a.prefixlen)}`).sort();
      out.push(
        `link-${node}:${l.ifname} up=${String(l.flags.includes('UP'))} ${l.address} ${addresses.join(' ')}`,
      );
    }
  }
  return out.sort();
}

async function pageSays(page: Page): Promise<string[]> {
  const shown = await page.locator('[data-testid^="link-"]').evaluateAll((links) =>
    links.map((l) => {
      const addresses = (l.getAttribute('data-addresses') ?? '').split(/[ ,]+/).filter(Boolean).sort();
      return `${l.getAttribute('data-testid') ?? ''} up=${l.getAttribute('data-up') ?? ''} ${l.getAttribute('data-mac') ?? ''} ${addresses.join(' ')}`;
    }),
  );
  return shown.sort();
}

async function expectSame(page: Page, path: string, key: string): Promise<void> {
  const kernel = await kernelSays(path, key);
  await expect.poll(() => pageSays(page), { timeout: 15_000 }).toEqual(kernel);
}

test('model 1 by the buttons', async () => {
  const { page, faults } = await open();
  const { path, key } = await begin(page, 'one-namespace');
  const { steps } = await call<Session>(key, 'GET', path);
  for (const step of steps) {
    await page.getByTestId(`run-${step.id}`).click();
    await page.locator(`[data-testid="step-${step.id}"][data-state="done"]`).waitFor();
    await expectSame(page, path, key);
  }
  await page.getByTestId('finished').waitFor();
  expect(faults).toEqual([]);
});

test('model 2 by the API, while the page is open', async () => {
  const { page, faults } = await open();
  const { path, key } = await begin(page, 'one-host-bridge');
  const lab = await call<Lab>(key, 'GET', '/api/v1/labs/one-host-bridge');
  for (const step of lab.steps) {
    await call(key, 'POST', `${path}/steps/${step.id}/apply`);
    await page.locator(`[data-testid="step-${step.id}"][data-state="done"]`).waitFor();
  }
  await expectSame(page, path, key);
  // And what is typed by hand, in no step.
  await call(key, 'POST', `${path}/exec`, { node: 'host1', argv: ['ip', 'netns', 'add', 'typed'] });
  await page.getByTestId('node-host1/typed').waitFor();
  await call(key, 'POST', `${path}/exec`, { node: 'host1', argv: ['ip', 'netns', 'del', 'typed'] });
  await page.getByTestId('node-host1/typed').waitFor({ state: 'detached' });
  // A reload comes back to the same session.
  await page.reload();
  await expectSame(page, path, key);
  expect(faults).toEqual([]);
});
