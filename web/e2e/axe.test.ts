// What a machine can find of what keeps somebody out: axe on every page, in
// every language and theme. The texts of labs come from the real server, the
// states that are rare from the gallery.
import axe from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { serveIn, still, type Served } from '../mock/served';
import { launch } from './chromium';
import { kabel } from './kabel';

const { open, begin } = kabel();

const languages = ['en', 'id', 'vi', 'ko'];
const themes = ['dark', 'light', 'contrast'];
const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
/** The only rules that look at colours: a theme changes nothing else. */
const ofColour = ['color-contrast', 'link-in-text-block'];

type Run = (options: axe.RunOptions) => Promise<axe.AxeResults>;

async function faults(page: Page, rules?: string[], without: string[] = []): Promise<string[]> {
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(axe.source);
  const runOnly: axe.RunOnly = rules ? { type: 'rule', values: rules } : { type: 'tag', values: tags };
  const off = Object.fromEntries(without.map((rule) => [rule, { enabled: false }]));
  const options: axe.RunOptions = { runOnly, resultTypes: ['violations'], ...(!rules && { rules: off }) };
  const found = await page.evaluate(
    (o) => (window as unknown as { axe: { run: Run } }).axe.run(o).then((r) => r.violations),
    options,
  );
  return found.flatMap((v) =>
    v.nodes.map((n) => `${v.id}: ${n.target.join(' ')} ${n.failureSummary?.split('\n')[1]?.trim() ?? ''}`),
  );
}

async function choose(page: Page, what: 'language' | 'theme', value: string): Promise<void> {
  // The selects are behind a dialog, or in a menu, for some states.
  await page.evaluate(
    ([testid, to]) => {
      const select = document.querySelector<HTMLSelectElement>(`[data-testid=${testid}]`);
      if (!select) throw new Error(`there is no choice of the ${testid}`);
      select.value = to;
      select.dispatchEvent(new Event('change', { bubbles: true }));
    },
    [what, value] as const,
  );
  if (what === 'language') await page.locator(`html[lang="${value}"]`).waitFor({ state: 'attached' });
}

/** Judges what is shown, in every language and theme. */
async function judge(page: Page): Promise<string[]> {
  const all = new Map<string, string>();
  for (const language of languages) {
    await choose(page, 'language', language);
    for (const [i, theme] of themes.entries()) {
      await choose(page, 'theme', theme);
      await still(page, 2);
      for (const fault of await faults(page, i === 0 ? undefined : ofColour))
        if (!all.has(fault)) all.set(fault, `${language}, ${theme}: ${fault}`);
    }
  }
  await choose(page, 'language', 'en');
  return [...all.values()];
}

test('home, a lab with all that can be opened in it, and free play', async () => {
  const { page } = await open();
  await page.emulateMedia({ reducedMotion: 'reduce' });
  const found: Record<string, string[]> = {};
  const look = async (what: string): Promise<void> => {
    const all = await judge(page);
    if (all.length > 0) found[what] = all;
  };
  await page.getByTestId('start-one-host-bridge').waitFor();
  await page.getByTestId('demo-pause').click();
  await look('home');

  await begin(page, 'one-host-bridge');
  await page.getByTestId('run-containers').click();
  await page.locator('[data-testid="step-containers"][data-state="done"]').waitFor();
  await page.getByTestId('packets-toggle').click();
  await page.getByTestId('packets').waitFor();
  await page.getByTestId('node-host1').click();
  await page.getByTestId('inspector').waitFor();
  await look('a lab with the inspector and the packets');

  await page.locator('dfn').filter({ visible: true }).first().focus();
  await page.getByTestId('term').filter({ visible: true }).waitFor();
  await look('a word of the glossary');
  await page.keyboard.press('Escape');

  await page.getByTestId('tab-terminal').click();
  await page.getByTestId('terminal-open-host1').click();
  await page.locator('.xterm-rows').getByText('host1').first().waitFor();
  await page.getByTestId('view').click();
  await look('a terminal and a menu');
  await page.keyboard.press('Escape');
  await page.getByTestId('end').click();
  await look('a question before the end');
  await page.keyboard.press('Escape');
  await page.getByTestId('view').click();
  await page.getByTestId('view-keys').click();
  await page.getByTestId('keys').waitFor();
  await look('the keys');
  await page.keyboard.press('Escape');

  await page.goto(new URL('#/', page.url()).href);
  await page.getByTestId('start-free').click();
  await page.getByTestId('free-play').waitFor();
  await look('free play');
  expect(found).toEqual({});
});

let browser: Browser;
let served: Served;
beforeAll(async () => {
  browser = await launch();
  served = await serveIn(browser);
}, 120_000);
afterAll(async () => {
  await browser.close();
  await served.close();
});

const sections = [
  'controls',
  'notices',
  'home',
  'lesson',
  'menus',
  'tools',
  'inspector',
  'packets',
  'worlds',
];
test.each(sections)('every component in every state: %s', async (section) => {
  const page = await served.page({ reducedMotion: 'reduce' });
  const found: Record<string, string[]> = {};
  // What holds for a whole page does not for many pieces of it, several times the same.
  const ofPages = [
    'landmark-unique',
    'landmark-no-duplicate-banner',
    'landmark-banner-is-top-level',
    'region',
  ];
  const many = [...ofPages, 'page-has-heading-one', 'heading-order', 'duplicate-id', 'duplicate-id-aria'];
  for (const theme of themes) {
    await served.show(page, { section, theme });
    await still(page);
    const all = await faults(page, theme === 'dark' ? undefined : ofColour, many);
    if (all.length > 0) found[theme] = all;
  }
  expect(found).toEqual({});
});
