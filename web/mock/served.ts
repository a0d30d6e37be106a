// The gallery in a browser, for tests and measurements: built as the page is,
// its files answered for each request, so that no server is there.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname, join, resolve } from 'node:path';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { build } from 'vite';

export interface Chosen {
  section: string;
  theme?: string;
  language?: string;
}

export interface Served {
  /** A page with nothing in it yet. */
  page(options?: BrowserContextOptions): Promise<Page>;
  show(page: Page, chosen: Chosen): Promise<void>;
  close(): Promise<void>;
}

const origin = 'https://gallery.test'; // as on one's own machine: safe;
const types: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

export async function serveIn(browser: Browser): Promise<Served> {
  const folder = await mkdtemp(join(tmpdir(), 'kabel-gallery-'));
  await build({
    configFile: false,
    logLevel: 'error',
    plugins: [svelte()],
    build: {
      outDir: folder,
      target: 'es2022',
      assetsInlineLimit: 0,
      reportCompressedSize: false,
      rolldownOptions: { input: resolve('mock/gallery.html') },
    },
  });
  return {
    async page(options) {
      const context = await browser.newContext({ timezoneId: 'UTC', locale: 'en-GB', ...options });
      await context.route(`${origin}/**`, async (route) => {
        const { pathname } = new URL(route.request().url());
        const body = await readFile(join(folder, pathname)).catch(() => null);
        const contentType = types[extname(pathname)] ?? 'application/octet-stream';
        await route.fulfill(body ? { body, contentType } : { status: 404 });
      });
      return context.newPage();
    },
    async show(page, chosen) {
      await page.goto(`${origin}/mock/gallery.html?${String(new URLSearchParams({ ...chosen }))}`);
      await page.locator('main').waitFor();
    },
    async close() {
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Waits until nothing on the page moves or is on its way. */
export async function still(page: Page, frames = 12): Promise<void> {
  await page.evaluate(async (frames) => {
    const frame = (): Promise<unknown> => new Promise((done) => requestAnimationFrame(done));
    // Parts that are loaded when they are shown come one after the other.
    let before = '';
    for (let same = 0; same < frames;) {
      await frame();
      await document.fonts.ready;
      const now = document.body.innerHTML;
      const quiet = document.getAnimations().every((a) => a.playState !== 'running');
      same = now === before && quiet ? same + 1 : 0;
      before = now;
    }
  }, frames);
}
