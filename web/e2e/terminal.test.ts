// Types as a person does, in Chromium, into shells of real worlds.
import type { Page, WebSocketRoute } from 'playwright-core';
import { expect, test } from 'vitest';
import { kabel } from './kabel';

const { open, begin, call } = kabel();

/** The lines of the terminal in front. */
const lines = (page: Page): Promise<string[]> =>
  page
    .locator('[role=tabpanel]:not([hidden]) .xterm-rows > div')
    .evaluateAll((rows) => rows.map((r) => (r.textContent ?? '').replaceAll('\u00a0', ' ').trimEnd()));

async function expectLine(page: Page, wanted: string | RegExp): Promise<void> {
  const fits = (l: string): boolean => (typeof wanted === 'string' ? l === wanted : wanted.test(l));
  await expect
    .poll(async () => ((await lines(page)).some(fits) ? wanted : await lines(page)), { timeout: 20_000 })
    .toBe(wanted);
}

const prompt = /[#$]$/;

/** Opens a terminal by its button and waits for its shell. */
async function shell(page: Page, node: string): Promise<void> {
  await page.getByTestId(`terminal-open-${node}`).click();
  await page.locator(`[data-testid="terminal-tab-${node}"][data-state=live]`).waitFor();
  await expectLine(page, prompt);
}

/** Types a line and runs it. */
async function run(page: Page, line: string): Promise<void> {
  await page.keyboard.type(line);
  await page.keyboard.press('Enter');
}

test('what is typed changes the network, the step is done, and a reload comes back to the same shell', async () => {
  const { page, faults } = await open();
  const { path, key } = await begin(page, 'one-namespace');
  await shell(page, 'host1');
  await run(page, 'ip netns add kon');
  await page.getByTestId('node-host1/kon').waitFor();
  const { steps } = await call<{ steps: { id: string }[] }>(key, 'GET', path);
  await page.locator(`[data-testid="step-${steps[0]?.id ?? ''}"][data-state="done"]`).waitFor();
  await run(page, 'kept=$((6*7)); ip netns');
  await expectLine(page, /^kon/);

  await page.reload();
  await page.locator('[data-testid="terminal-tab-host1"][data-state=live]').waitFor();
  await expectLine(page, /^kon/);
  expect(await page.locator('[data-testid^="terminal-tab-"]').count()).toBe(1);
  await page.getByTestId('terminal-tab-host1').click();
  await run(page, 'echo "still $kept"');
  await expectLine(page, 'still 42');
  expect(faults).toEqual([]);
});

test('letters that are composed arrive as they are', async () => {
  const { page, faults } = await open();
  await begin(page, 'one-namespace');
  await shell(page, 'host1');
  await page.keyboard.type('printf ');
  await page.keyboard.type('à');
  const keyboard = await page.context().newCDPSession(page);
  for (const [steps, letter] of [
    [['ㅇ', '아', '안'], '안'],
    [['ㄴ', '녀', '녕'], '녕'],
  ] as const) {
    for (const text of steps)
      await keyboard.send('Input.imeSetComposition', { text, selectionStart: 1, selectionEnd: 1 });
    await keyboard.send('Input.insertText', { text: letter });
  }
  await expectLine(page, /printf à안녕$/);
  await run(page, ' | od -An -tx1');
  await expectLine(page, /^ ?c3 a0 ec 95 88 eb 85 95$/);
  expect(faults).toEqual([]);
});

test('a shell in a namespace, opened in the picture, and one more on its machine', async () => {
  const { page, faults } = await open();
  await begin(page, 'one-namespace');
  await shell(page, 'host1');
  await run(page, 'ip netns add kon');
  await page.getByTestId('node-host1/kon').dblclick();
  await page.locator('[data-testid="terminal-tab-host1/kon"][data-state=live]').waitFor();
  await expectLine(page, prompt);
  await run(page, 'ip -br link | wc -l; stty size');
  await expectLine(page, '1');
  await page.getByTestId('terminal-new').selectOption('host1');
  await expect.poll(() => page.getByTestId('terminal-tab-host1').count()).toBe(2);
  await page.getByTestId('terminal-close-host1/kon').click();
  await expect.poll(() => page.locator('[data-testid^="terminal-tab-"]').count()).toBe(2);
  expect(faults).toEqual([]);
});

test('the size follows the pane', async () => {
  const { page, faults } = await open();
  await begin(page, 'one-namespace');
  await shell(page, 'host1');
  const size = async (): Promise<string | undefined> => {
    await run(page, 'clear; stty size');
    await expectLine(page, /^\d+ \d+$/);
    return (await lines(page)).find((l) => /^\d+ \d+$/.test(l));
  };
  const before = await size();
  await page.setViewportSize({ width: 1100, height: 700 });
  await expect.poll(size, { timeout: 20_000 }).not.toBe(before);
  const shown = await page.locator('.xterm-rows > div').count();
  expect(await size()).toMatch(new RegExp(`^${String(shown)} `));
  expect(faults).toEqual([]);
});

test('letters grow and are remembered; a link is followed if nobody can read along', async () => {
  const { page, faults } = await open();
  await page.addInitScript(() => {
    window.open = (to) => (console.info(`opened ${String(to)}`), null);
  });
  await page.reload();
  const opened: string[] = [];
  page.on('console', (m) => m.text().startsWith('opened ') && opened.push(m.text()));
  await begin(page, 'one-namespace');
  await shell(page, 'host1');
  const high = (): Promise<number> =>
    page
      .locator('.xterm-rows > div')
      .first()
      .evaluate((e) => e.getBoundingClientRect().height);
  const before = await high();
  const face = (): Promise<string> =>
    page
      .locator('.xterm-rows')
      .first()
      .evaluate((e) => getComputedStyle(e).fontFamily.split(',')[0] ?? '');
  await page.getByTestId('terminal-letters').click();
  await page.getByTestId('terminal-larger').click({ clickCount: 4 });
  await expect.poll(high).toBeGreaterThan(before + 3);
  const larger = await high();
  await page.getByTestId('terminal-font-legible').click();
  await expect.poll(high).toBeGreaterThan(larger + 3);
  await page.getByTestId('terminal-font-system').click();
  await expect.poll(face).toBe('ui-monospace');
  await page.keyboard.press('Escape');
  await page.reload();
  await expectLine(page, prompt);
  await expect.poll(high).toBeGreaterThan(before + 3);
  await expect.poll(face).toBe('ui-monospace');

  await page.getByTestId('terminal-tab-host1').click();
  await run(page, 'clear; echo http://a.example/1; echo https://b.example/2');
  await expectLine(page, 'https://b.example/2');
  for (const line of ['http://a.example/1', 'https://b.example/2'])
    await page
      .locator('.xterm-rows span', { hasText: line })
      .last()
      .click({ position: { x: 30, y: 6 }, force: true });
  await expect.poll(() => opened).toEqual(['opened https://b.example/2']);
  expect(faults).toEqual([]);
});

test('a broken connection comes back to the same screen', async () => {
  const { page, faults } = await open();
  const routes: WebSocketRoute[] = [];
  await page.routeWebSocket(/\/terminals\//, (ws) => {
    ws.connectToServer();
    routes.push(ws);
  });
  await begin(page, 'one-namespace');
  await shell(page, 'host1');
  await run(page, 'echo $((40+2)) is here');
  await expectLine(page, '42 is here');
  await routes[0]?.close({ code: 1011 });
  await expect.poll(() => routes.length, { timeout: 20_000 }).toBe(2);
  await page.locator('[data-testid="terminal-tab-host1"][data-state=live]').waitFor();
  await expectLine(page, '42 is here');
  expect((await lines(page)).filter((l) => l === '42 is here')).toHaveLength(1);
  await run(page, 'echo on and $((1+1))');
  await expectLine(page, 'on and 2');
  expect(faults).toEqual([]);
});

test('a program that shows without end leaves the page alive, and is stopped', async () => {
  const { page, faults } = await open();
  await begin(page, 'one-namespace');
  await shell(page, 'host1');
  await run(page, 'yes');
  await expectLine(page, 'y');
  // The page draws and answers meanwhile.
  await page.getByTestId('tab-probe').click();
  await page.getByTestId('probe-send').waitFor();
  await page.getByTestId('tab-terminal').click();
  await page.getByTestId('terminal-tab-host1').click();
  await page.keyboard.press('Control+c');
  await run(page, 'echo $((3*7)) again');
  await expectLine(page, '21 again');
  expect(faults).toEqual([]);
});

test('colours of all sorts, under the policy', async () => {
  const { page, faults } = await open();
  await begin(page, 'one-namespace');
  await shell(page, 'host1');
  await run(page, String.raw`printf '\e[38;2;255;120;0mtrue\e[m \e[41mred\e[m\n'`);
  await expectLine(page, 'true red');
  const colour = await page
    .locator('.xterm-rows span', { hasText: /^true$/ })
    .evaluate((e) => getComputedStyle(e).color);
  expect(colour).not.toBe(await page.locator('.xterm-rows').evaluate((e) => getComputedStyle(e).color));
  expect(faults).toEqual([]);
});

test('an end is told in words, and F6 leads out', async () => {
  const { page, faults } = await open();
  await begin(page, 'one-namespace');
  await shell(page, 'host1');
  await page.keyboard.press('F6');
  expect(await page.evaluate(() => document.activeElement?.getAttribute('data-testid'))).toBe(
    'terminal-tab-host1',
  );
  await page.keyboard.press('Enter');
  await run(page, 'exit 3');
  await page.getByTestId('terminal-end').getByText('code 3').waitFor();
  expect(faults).toEqual([]);
});

test('a command of the lesson is typed, and waits for Enter', async () => {
  const { page, faults } = await open();
  await begin(page, 'one-namespace');
  await page.getByTestId('type').first().click();
  await expectLine(page, /[#$] ip netns add \S+$/);
  expect(await page.locator('[data-testid^="node-host1/"]').count()).toBe(0);
  await page.keyboard.press('Enter');
  await page.locator('[data-testid^="node-host1/"]').waitFor();
  expect(faults).toEqual([]);
});

test('what is selected is copied and pasted by keyboard, and old lines are found', async () => {
  const { page, faults } = await open();
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await begin(page, 'one-namespace');
  await shell(page, 'host1');
  await run(page, 'seq -f line%g 200');
  await expectLine(page, 'line200');
  await page.keyboard.press('Control+Shift+F');
  await page.getByTestId('terminal-find-text').fill('line77');
  await expectLine(page, 'line77');
  await page.keyboard.press('Escape'); // the find stays selected
  await page.keyboard.press('Control+c');
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('line77');
  await page.keyboard.type('echo seen-');
  await page.keyboard.press('Control+Shift+V');
  await expectLine(page, /echo seen-line77$/);
  await page.keyboard.press('Enter');
  await expectLine(page, 'seen-line77');
  expect(faults).toEqual([]);
});

test('after a reset the terminal says what it was, and one button opens its successor', async () => {
  const { page, faults } = await open();
  const { path, key } = await begin(page, 'one-namespace');
  await shell(page, 'host1');
  await call(key, 'POST', `${path}/reset`, {});
  await page.getByTestId('terminal-end').getByText('before the reset').waitFor();
  await page.getByTestId('type').first().click();
  await expectLine(page, /[#$] ip netns add \S+$/);
  expect(await page.locator('[data-testid^="terminal-tab-"]').count()).toBe(1);
  expect(faults).toEqual([]);
});

test('too many terminals are refused in words', async () => {
  const { page } = await open();
  await begin(page, 'one-namespace');
  await shell(page, 'host1');
  for (let n = 2; n <= 9; n++) {
    await page.getByTestId('terminal-new').selectOption('host1');
    const last = page.getByTestId('terminal-tab-host1').nth(n - 1);
    await expect
      .poll(() => last.getAttribute('data-state'), { timeout: 20_000 })
      .toBe(n === 9 ? 'over' : 'live');
  }
  await page.locator('[data-testid=terminal-end]', { hasText: 'as many terminals' }).waitFor();
});

test('keys lead through the tabs and close them', async () => {
  const { page, faults } = await open();
  await begin(page, 'one-namespace');
  await shell(page, 'host1');
  await page.getByTestId('terminal-new').selectOption('host2');
  await page.locator('[data-testid="terminal-tab-host2"][data-state=live]').waitFor();
  const focused = (): Promise<string | null | undefined> =>
    page.evaluate(() => document.activeElement?.getAttribute('data-testid'));
  await page.keyboard.press('F6');
  expect(await focused()).toBe('terminal-tab-host2');
  await page.keyboard.press('ArrowLeft');
  expect(await focused()).toBe('terminal-tab-host1');
  await page.keyboard.press('Delete');
  await expect.poll(focused).toBe('terminal-tab-host2');
  expect(await page.locator('[data-testid^="terminal-tab-"]').count()).toBe(1);
  expect(faults).toEqual([]);
});
