// Plays the labs as a person does, in Chromium, against the real server and a
// real kernel, and holds the page against what `ip` says inside the world.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Lab, Session } from '../src/wire';

const flags =
  '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync --no-proxy-server';

let server: ChildProcess;
let data: string;
let url: string;
let browser: Browser;

beforeAll(async () => {
  data = mkdtempSync(join(tmpdir(), 'kabel-e2e-'));
  server = spawn('../bin/server', ['--addr', '127.0.0.1:0', '--data', data], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (!server.stdout) throw new Error('the server has no stdout');
  for await (const line of createInterface({ input: server.stdout })) {
    const found = /http:\/\/[^/]+/.exec(line);
    if (found) {
      url = found[0];
      break;
    }
  }
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: flags.split(' ') });
});

afterAll(async () => {
  await browser.close();
  const gone = new Promise((resolve) => server.once('exit', resolve));
  server.kill('SIGTERM');
  await gone;
  rmSync(data, { recursive: true, force: true });
});

/** Opens the page and fails the test at its end if the console had an error or a request left our origin. */
async function open(): Promise<{ page: Page; faults: string[] }> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  const faults: string[] = [];
  page.on('pageerror', (e) => faults.push(`page error: ${e.message}`));
  page.on('console', (m) => {
    if (m.type() === 'error') faults.push(`console: ${m.text()}`);
  });
  page.on('request', (r) => {
    if (!r.url().startsWith(url) && !r.url().startsWith('data:')) faults.push(`foreign request: ${r.url()}`);
  });
  await page.goto(url);
  return { page, faults };
}

/** Starts a lab by its card and gives the session's address and key, as the browser has them. */
async function begin(page: Page, lab: string): Promise<{ path: string; key: string }> {
  await page.getByTestId(`start-${lab}`).click();
  await page.waitForURL(/#\/lab\/[^/]+\/[^/]+/);
  const id = new URL(page.url()).hash.split('/')[3] ?? '';
  const path = `/api/v1/sessions/${id}`;
  const cookie = (await page.context().cookies(url + path)).find((c) => c.name === `kabel_${id}`);
  return { path, key: cookie?.value ?? '' };
}

async function call<T>(key: string, method: string, path: string, body?: object): Promise<T> {
  const res = await fetch(url + path, {
    method,
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await res.text();
  expect(res.ok, `${method} ${path}: ${String(res.status)} ${text}`).toBe(true);
  return JSON.parse(text) as T;
}

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
