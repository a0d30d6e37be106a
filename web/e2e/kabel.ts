// What the browser tests share: a server of their own, a browser, and hands.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, expect } from 'vitest';
import { launch } from './chromium';

/** What of the reader's machine is not a large screen beside the server. */
export interface How extends BrowserContextOptions {
  /** By which name the server is called. */
  host?: string;
}

export interface Kabel {
  readonly url: string;
  /** Opens the page; `faults` are errors on the console and requests that leave our origin. */
  open(how?: How): Promise<{ page: Page; faults: string[] }>;
  /** Starts a lab by its card and gives the session's address and key, as the browser has them. */
  begin(page: Page, lab: string): Promise<{ path: string; key: string }>;
  call<T>(key: string, method: string, path: string, body?: object): Promise<T>;
}

/** A server, with flags of its own, and a browser for the tests of one file. */
export function kabel(...own: string[]): Kabel {
  const data = mkdtempSync(join(tmpdir(), 'kabel-e2e-'));
  afterAll(() => void rmSync(data, { recursive: true, force: true }));
  return serving(['--addr', '127.0.0.1:0', '--data', data, ...own]);
}

/** The same for what an author starts to see a directory of labs while writing it. */
export const preview = (labs: string): Kabel => serving(['lab', 'preview', '--addr', '127.0.0.1:0', labs]);

function serving(args: string[]): Kabel {
  let server: ChildProcess;
  let url: string;
  let browser: Browser;

  beforeAll(async () => {
    server = spawn('../bin/server', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    if (!server.stdout) throw new Error('the server has no stdout');
    for await (const line of createInterface({ input: server.stdout })) {
      const found = /http:\/\/[^/]+/.exec(line);
      if (found) {
        url = found[0];
        break;
      }
    }
    browser = await launch();
  });

  afterAll(async () => {
    await browser.close();
    const gone = new Promise((resolve) => server.once('exit', resolve));
    server.kill('SIGTERM');
    await gone;
  });

  return {
    get url() {
      return url;
    },

    async open({ host = '127.0.0.1', ...options } = {}) {
      const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
      const ours = url.replace('127.0.0.1', host);
      const page = await context.newPage();
      const faults: string[] = [];
      page.on('pageerror', (e) => faults.push(`page error: ${e.message}`));
      page.on('console', (m) => {
        if (m.type() === 'error') faults.push(`console: ${m.text()}`);
      });
      page.on('request', (r) => {
        if (!r.url().startsWith(ours) && !r.url().startsWith('data:'))
          faults.push(`foreign request: ${r.url()}`);
      });
      await page.goto(ours);
      return { page, faults };
    },

    async begin(page, lab) {
      await page.getByTestId(`start-${lab}`).click();
      await page.waitForURL(/#\/lab\/[^/]+\/[^/]+/);
      const id = new URL(page.url()).hash.split('/')[3] ?? '';
      const path = `/api/v1/sessions/${id}`;
      const cookie = (await page.context().cookies(new URL(path, page.url()).href)).find(
        (c) => c.name === `kabel_${id}`,
      );
      return { path, key: cookie?.value ?? '' };
    },

    async call<T>(key: string, method: string, path: string, body?: object) {
      const res = await fetch(url + path, {
        method,
        headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
        ...(body && { body: JSON.stringify(body) }),
      });
      const text = await res.text();
      expect(res.ok, `${method} ${path}: ${String(res.status)} ${text}`).toBe(true);
      return JSON.parse(text) as T;
    },
  };
}
