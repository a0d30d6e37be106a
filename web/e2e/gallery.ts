// The gallery of components, built as the page is and served from a folder of its own.
import { readFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname, join, resolve } from 'node:path';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import { build } from 'vite';
import { afterAll, beforeAll } from 'vitest';
import { flags } from './kabel';

export interface Chosen {
  section: string;
  theme?: string;
  language?: string;
}

const origin = 'http://gallery.test';
const types: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

/** A browser that has the gallery; no server is there, its files are answered for each request. */
export function gallery(): { context(): BrowserContext; show(page: Page, chosen: Chosen): Promise<void> } {
  let browser: Browser;
  let folder: string;
  let context: BrowserContext;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kabel-gallery-'));
    await build({
      configFile: false,
      logLevel: 'error',
      plugins: [svelte()],
      build: {
        outDir: folder,
        target: 'es2022',
        assetsInlineLimit: 0,
        minify: false,
        reportCompressedSize: false,
        rolldownOptions: { input: resolve('mock/gallery.html') },
      },
    });
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: flags });
    context = await browser.newContext({ reducedMotion: 'reduce', timezoneId: 'UTC', locale: 'en-GB' });
    await context.route(`${origin}/**`, async (route) => {
      const { pathname } = new URL(route.request().url());
      const body = await readFile(join(folder, pathname)).catch(() => null);
      const type = types[extname(pathname)] ?? 'application/octet-stream';
      await route.fulfill(body ? { body, contentType: type } : { status: 404 });
    });
  }, 120_000);

  afterAll(async () => {
    await browser.close();
    await rm(folder, { recursive: true, force: true });
  });

  return {
    context: () => context,
    async show(page, chosen) {
      await page.goto(`${origin}/mock/gallery.html?${String(new URLSearchParams({ ...chosen }))}`);
      await page.locator('main').waitFor();
      await still(page);
    },
  };
}

/** Waits until nothing on the page moves or is on its way. */
export async function still(page: Page): Promise<void> {
  await page.evaluate(async () => {
    const frame = (): Promise<unknown> => new Promise((done) => requestAnimationFrame(done));
    // Parts that are loaded when they are shown come one after the other.
    let before = '';
    for (let same = 0; same < 12;) {
      await frame();
      await document.fonts.ready;
      const now = document.body.innerHTML;
      same =
        now === before && document.getAnimations().every((a) => a.playState !== 'running') ? same + 1 : 0;
      before = now;
    }
  });
}
