// What somebody hears who does not see the page. The trees beside this file are
// what a screen reader walks through, on the gallery’s still data (`vitest -u` takes
// another wording, once it has been read); what is said
// by itself comes from the real server.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { serveIn, still, type Served } from '../mock/served';
import { launch } from './chromium';
import { kabel } from './kabel';

const { open, begin } = kabel();

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

interface Heard {
  role: string;
  name: string;
  level: number;
  /** What is around it, from the outside. */
  within: string[];
}

/** Everything in the tree of accessibility that is told, in its order. */
async function heard(page: Page): Promise<Heard[]> {
  const tree = await page.context().newCDPSession(page);
  const { nodes } = await tree.send('Accessibility.getFullAXTree');
  await tree.detach();
  const byId = new Map(nodes.map((n) => [n.nodeId, n]));
  const all: Heard[] = [];
  const walk = (id: string, within: string[]): void => {
    const node = byId.get(id);
    if (!node) return;
    const role = String(node.role?.value ?? '');
    const told = !node.ignored && role !== '';
    if (told) {
      const level = Number(node.properties?.find((p) => p.name === 'level')?.value.value ?? 0);
      all.push({ role, name: String(node.name?.value ?? ''), level, within });
    }
    for (const child of node.childIds ?? []) walk(child, told ? [...within, role] : within);
  };
  const root = nodes.find((n) => n.parentId === undefined);
  if (root) walk(root.nodeId, []);
  return all;
}

const controls =
  /^(button|link|textbox|combobox|ComboBoxGrouping|checkbox|radio|switch|tab|treeitem|menuitem.*|slider|splitter|searchbox|spinbutton)$/;

/** What holds on every page. */
function faultsIn(all: Heard[]): string[] {
  const out: string[] = [];
  for (const { role, name } of all)
    if (controls.test(role) && !name.trim()) out.push(`a ${role} has no name`);
  const headings = all.filter((n) => n.role === 'heading');
  if (headings.filter((h) => h.level === 1).length !== 1)
    out.push('there is not one heading of the first level');
  headings.forEach(({ level, name }, i) => {
    if (level > (headings[i - 1]?.level ?? 0) + 1) out.push(`“${name}” skips a level of headings`);
  });
  for (const place of ['banner', 'main'])
    if (all.filter((n) => n.role === place).length !== 1) out.push(`there is not one ${place}`);
  const named = all.filter((n) => ['navigation', 'region', 'complementary', 'form'].includes(n.role));
  const names = named.map((n) => `${n.role} “${n.name}”`);
  for (const one of new Set(names.filter((n, i) => names.indexOf(n) !== i)))
    out.push(`two are called ${one}`);
  return out;
}

test.each([
  ['home', 'page-home', undefined],
  ['lab', 'page-lab', undefined],
  [
    'lab-open',
    'page-lab',
    async (page: Page): Promise<void> => {
      await page.getByTestId('packets-toggle').click();
      await page.getByTestId('node-host1/kon1').click();
      await page.getByTestId('inspector').waitFor();
    },
  ],
] as const)('the page is a tree that one finds one’s way in: %s', async (name, section, act) => {
  const page = await served.page({ reducedMotion: 'reduce', viewport: { width: 1440, height: 900 } });
  await served.show(page, { section });
  await still(page);
  await act?.(page);
  await still(page);
  expect(faultsIn(await heard(page))).toEqual([]);
  const tree = await page.locator('body').ariaSnapshot();
  await expect(`${tree}\n`).toMatchFileSnapshot(`spoken/${name}.txt`);
});

/** Notes what is said by itself from now on. */
async function listen(page: Page): Promise<() => Promise<string[]>> {
  await page.evaluate(() => {
    const said: string[] = [];
    const live = '[role=status], [role=alert], [role=log], [aria-live]:not([aria-live=off])';
    const last = new WeakMap<Element, string>();
    const note = (e: Element): void => {
      const text = e.textContent.replace(/\s+/g, ' ').trim();
      if (last.get(e) === text || e.closest('[aria-hidden=true]')) return;
      last.set(e, text);
      if (text && e.checkVisibility()) said.push(text);
    };
    for (const e of document.querySelectorAll(live)) last.set(e, e.textContent.replace(/\s+/g, ' ').trim());
    new MutationObserver((all) => {
      const regions = new Set<Element>();
      for (const { target, addedNodes } of all) {
        const at = (target instanceof Element ? target : target.parentElement)?.closest(live);
        if (at) regions.add(at);
        for (const n of addedNodes)
          if (n instanceof Element)
            for (const e of [n, ...n.querySelectorAll('*')]) if (e.matches(live)) regions.add(e);
      }
      regions.forEach(note);
    }).observe(document.body, { childList: true, characterData: true, subtree: true });
    Object.assign(window, { said });
  });
  return () => page.evaluate(() => (window as unknown as { said: string[] }).said);
}

test('what happens is said, once', async () => {
  const { page, faults } = await open();
  let [down, cut] = [false, (): void => undefined];
  await page.routeWebSocket(/\/stream$/, (ws) => {
    if (down) return void ws.close({ code: 1011 });
    cut = () => void ws.close({ code: 1011 });
    ws.connectToServer();
  });
  await begin(page, 'one-namespace');
  await page.getByTestId('run-namespace').waitFor();
  await page.locator('[data-testid=connection][data-state=live]').waitFor();
  const said = await listen(page);
  const once = (what: RegExp): Promise<void> =>
    expect
      .poll(async () => (await said()).filter((one) => what.test(one)), { timeout: 10_000 })
      .toEqual([expect.stringMatching(what)]);

  await page.getByTestId('run-namespace').click();
  await page.locator('[data-testid="step-namespace"][data-state=done]').waitFor();
  await once(/New namespace kon/);
  await once(/^Step 1.*Step 2: /);

  await page.getByTestId('tab-probe').click();
  await page.getByTestId('probe-to').fill('10.0.0.10');
  await page.getByTestId('probe-send').click();
  await once(/10\.0\.0\.10/);

  await page.locator('button.copy').first().click();
  await once(/^Copied$/);

  down = true;
  cut();
  await page.getByTestId('stale').waitFor();
  await once(/connect/i);
  down = false;
  await once(/^Live$/);
  expect(faults.filter((f) => !f.includes('WebSocket'))).toEqual([]);
});

const held = (page: Page): Promise<string | null> =>
  page.evaluate(() => document.activeElement?.getAttribute('data-testid') ?? null);

test('what closes gives the keyboard back', async () => {
  const { page } = await open();
  await begin(page, 'one-namespace');
  await page.getByTestId('run-namespace').waitFor();

  await page.getByTestId('view').focus();
  await page.keyboard.press('?');
  await page.getByTestId('keys').waitFor();
  await page.keyboard.press('Escape');
  expect(await held(page)).toBe('view');

  await page.getByTestId('build-hint-open').press('Enter');
  await page.getByTestId('build-hint-text').waitFor();
  await page.keyboard.press('Escape');
  await expect.poll(() => held(page)).toBe('build-hint-open');

  await page.getByTestId('node-host1').focus();
  await page.keyboard.press('m');
  await page.getByTestId('build-menu').waitFor();
  await page.keyboard.press('Escape');
  await expect.poll(() => held(page)).toBe('node-host1');
  await page.keyboard.press('m');
  await page.getByTestId('offer-container').press('Enter');
  await page.getByTestId('build-form').waitFor();
  await expect.poll(() => held(page)).toBe('field-name');
  await page.keyboard.press('Escape');
  await expect.poll(() => held(page)).toBe('node-host1');

  await page.getByTestId('reset').press('Enter');
  await expect.poll(() => held(page)).toBe('cancel');
  await page.keyboard.press('Enter');
  await expect.poll(() => held(page)).toBe('reset');
});
