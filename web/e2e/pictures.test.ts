// The page as it was found good, picture by picture. What differs is written
// beside what was expected; `npm run pictures:update` takes the new look.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pixelmatch from 'pixelmatch';
import type { Browser, Page } from 'playwright-core';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { serveIn, still, type Chosen, type Served } from '../mock/served';
import { launch } from './chromium';
import { palettePng } from './palette';

const folder = 'e2e/pictures';
const differences = join(folder, 'differences');
const update = process.env.PICTURES === 'update';
/** Of all pixels, where they differ by more than the few shades that are kept; another build of the same browser may round the edge of a letter otherwise. */
const tolerated = 0.0005;

const sizes = [
  [1440, 900],
  [1024, 640],
  [390, 844],
] as const;
type Size = (typeof sizes)[number];

interface Picture extends Chosen {
  name: string;
  size: Size;
  whole?: boolean;
  /** What is done before it is taken. */
  act?: (page: Page) => Promise<void>;
}

async function openAll(page: Page): Promise<void> {
  await page.getByTestId('packets-toggle').click();
  await page.getByTestId('packets-fold-2').click();
  await page.getByTestId('node-host1/kon1').click();
  await page.getByTestId('inspector').waitFor();
}

async function openTerminal(page: Page): Promise<void> {
  await page.getByTestId('terminal-open-host1').click();
  await page.locator('.xterm-rows').getByText('unreachable').waitFor();
}

/** A shell comes onto its screen by the clock of the terminal. */
async function shellsShown(page: Page): Promise<void> {
  const lit = page.locator('.sheet:not([hidden]) .xterm-rows').filter({ hasText: 'unreachable' });
  await expect.poll(() => lit.count(), { timeout: 60_000 }).toBe(9);
}

const pages: [name: string, section: string, act?: Picture['act']][] = [
  ['home', 'page-home'],
  ['lab', 'page-lab', openTerminal],
  ['lab-open', 'page-lab', openAll],
];
const sections = [
  'controls',
  'notices',
  'home',
  'lesson',
  'menus',
  'tools',
  'inspector',
  'packets',
  'terminals',
  'worlds',
];

const pictures: Picture[] = [
  ...pages.flatMap(([name, section, act]) =>
    sizes
      // A phone shows one pane at a time.
      .filter(([width]) => !(name === 'lab-open' && width < 720))
      .map((size) => ({
        name: `${name} ${size.join('×')}`,
        section,
        size,
        ...(act && size[0] > 720 && { act }),
      })),
  ),
  ...['light', 'contrast'].flatMap((theme) =>
    pages
      .filter(([name]) => name !== 'lab')
      .map(([name, section, act]) => ({
        name: `${name} ${theme}`,
        section,
        theme,
        size: sizes[0],
        ...(act && { act }),
      })),
  ),
  ...['id', 'vi', 'ko'].map((language) => ({
    name: `home ${language}`,
    section: 'page-home',
    language,
    size: sizes[0],
  })),
  ...sections.map((section) => ({
    name: `every ${section}`,
    section,
    size: sizes[0],
    whole: true,
    ...(section === 'terminals' && { act: shellsShown }),
  })),
];

let browser: Browser;
let served: Served;
let page: Page;

beforeAll(async () => {
  browser = await launch();
  served = await serveIn(browser);
  page = await served.page({ reducedMotion: 'reduce', colorScheme: 'dark' });
  rmSync(differences, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
}, 120_000);

afterAll(async () => {
  await browser.close();
  await served.close();
});

async function take({ section, theme = 'dark', language = 'en', size, whole, act }: Picture): Promise<PNG> {
  const [width, height] = size;
  await page.setViewportSize({ width, height });
  await served.show(page, { section, theme, language });
  // What was remembered of another picture is not part of this one.
  await page.evaluate(() => (localStorage.clear(), sessionStorage.clear()));
  await served.show(page, { section, theme, language });
  await still(page);
  await act?.(page);
  await page.mouse.move(0, 0);
  await still(page);
  // How far the current step came into view hangs on when the letters came.
  await page.evaluate(() => {
    for (const step of document.querySelectorAll('[aria-current=step]')) step.scrollIntoView();
    scrollTo(0, 0);
  });
  await still(page);
  const shot = await page.screenshot({ fullPage: whole === true, animations: 'disabled', style: quiet });
  return PNG.sync.read(shot);
}

/** The scroll bar of a terminal fades by the clock; traffic runs by it. */
const quiet = '.xterm .scrollbar, .traffic { visibility: hidden !important; }';

const write = (file: string, picture: PNG): void => writeFileSync(file, palettePng(picture));

/** How many pixels differ; a picture of another size differs in all. */
function compare(was: PNG, is: PNG): { count: number; diff: PNG } {
  const diff = new PNG({ width: is.width, height: is.height });
  if (was.width !== is.width || was.height !== is.height) return { count: is.width * is.height, diff: is };
  return { count: pixelmatch(was.data, is.data, diff.data, is.width, is.height, { threshold: 0.1 }), diff };
}

test.each(pictures)('$name', async (picture) => {
  const name = picture.name.replaceAll(' ', '-').replace('×', 'x');
  const file = join(folder, `${name}.png`);
  const is = await take(picture);
  if (update) return write(file, is);
  const { count, diff } = compare(PNG.sync.read(readFileSync(file)), is);
  if (count <= tolerated * is.width * is.height) return;
  const [now, differs] = ['new', 'diff'].map((what) => join(differences, `${name}.${what}.png`)) as [
    string,
    string,
  ];
  mkdirSync(differences, { recursive: true });
  write(now, is);
  write(differs, diff);
  expect.fail(
    `${file}: ${String(count)} pixels differ, see ${now} and ${differs}; if it is meant: npm run pictures:update`,
  );
});
