// A tablet and a phone: everything that a learner does, with fingers alone.
import type { CDPSession, Locator, Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { kabel } from './kabel';

const { open, begin, call } = kabel();

const tablet = { viewport: { width: 1024, height: 768 }, hasTouch: true, isMobile: true };
const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

type Point = [x: number, y: number];

/** Fingers on the glass: each call says where all of them are. */
class Fingers {
  readonly #glass: CDPSession;

  private constructor(glass: CDPSession) {
    this.#glass = glass;
  }

  static async of(page: Page): Promise<Fingers> {
    return new Fingers(await page.context().newCDPSession(page));
  }

  async #say(
    type: 'touchStart' | 'touchMove' | 'touchEnd',
    points: Point[],
    timestamp = Date.now() / 1000,
  ): Promise<void> {
    const touchPoints = points.map(([x, y], id) => ({ x, y, id }));
    await this.#glass.send('Input.dispatchTouchEvent', { type, touchPoints, timestamp });
  }
  down = (...points: Point[]): Promise<void> => this.#say('touchStart', points);
  move = (...points: Point[]): Promise<void> => this.#say('touchMove', points);
  up = (): Promise<void> => this.#say('touchEnd', []);

  /**
   * Draws one finger from here to there, where it rests before it goes: else the
   * browser takes it for a throw, and the next tap for what stops that.
   */
  async draw(from: Point, to: Point): Promise<void> {
    let at = Date.now() / 1000 - 2;
    await this.#say('touchStart', [from], at);
    for (const part of [0.25, 0.5, 0.75, 1, 1]) {
      const here: Point = [from[0] + (to[0] - from[0]) * part, from[1] + (to[1] - from[1]) * part];
      await this.#say('touchMove', [here], (at += 0.1));
    }
    await this.#say('touchEnd', [], at + 0.3);
  }
}

/** Where one touches a thing of the picture: its name, or the box of an interface. */
const thing = (page: Page, id: string): Locator =>
  id.includes(':')
    ? page.locator(`[data-testid="link-${id}"] rect.box`).first()
    : page.locator(`[data-testid="node-${id}"] text.title`);

async function middle(place: Locator): Promise<Point> {
  await place.waitFor();
  const box = await place.boundingBox();
  if (!box) throw new Error('it is not drawn');
  return [box.x + box.width / 2, box.y + box.height / 2];
}

/** Where the picture is looked at from. */
async function view(page: Page): Promise<{ x: number; y: number; k: number }> {
  const text = await page.locator('[data-testid=topology] > g').getAttribute('transform');
  const [x = 0, y = 0, k = 0] = (text?.match(/-?[\d.]+(e-?\d+)?/g) ?? []).map(Number);
  return { x, y, k };
}

/** Does what the form asks for. */
async function run(page: Page): Promise<void> {
  await page.getByTestId('build-run').tap();
  await page.getByTestId('build-form').waitFor({ state: 'detached' });
}

const done = (page: Page, step: string): Promise<void> =>
  page.locator(`[data-testid="step-${step}"][data-state="done"]`).waitFor({ state: 'attached' });

test('on a tablet: look, build, draw a cable and type, with fingers', async () => {
  const { page, faults } = await open(tablet);
  await page.emulateMedia({ reducedMotion: 'reduce' }); // what is aimed at stands still
  expect(await page.evaluate(() => matchMedia('(pointer: coarse)').matches)).toBe(true);
  await page.getByTestId('start-one-host-bridge').waitFor();
  const { path, key } = await begin(page, 'one-host-bridge');
  const fingers = await Fingers.of(page);
  await page.getByTestId('build-container').waitFor();

  // A tap chooses, and the plugs are where one chose.
  await page.touchscreen.tap(...(await middle(thing(page, 'host2'))));
  await page.getByTestId('inspector').waitFor();
  await page.getByTestId('plug-host2').waitFor();
  await page.touchscreen.tap(...(await middle(thing(page, 'host1'))));
  await expect.poll(() => page.getByTestId('plug-host2').count()).toBe(0);

  // A long press opens the menu, which stays when the finger goes.
  await fingers.down(await middle(thing(page, 'host1')));
  await page.getByTestId('build-menu').waitFor();
  await fingers.up();
  await page.getByTestId('offer-container').tap();
  await run(page);
  await page.getByTestId('build-container').tap();
  await run(page);
  await done(page, 'containers');

  // One finger moves the picture, two change its size, around what is between them.
  const ground = await middle(page.getByTestId('topology'));
  const before = await view(page);
  await fingers.draw([ground[0], ground[1] + 120], [ground[0] + 60, ground[1] + 70]);
  const moved = await view(page);
  expect([moved.x - before.x, moved.y - before.y, moved.k].map(Math.round)).toEqual([
    60,
    -50,
    Math.round(before.k),
  ]);
  const [x, y] = ground;
  await fingers.down([x - 40, y], [x + 40, y]);
  for (const far of [50, 60, 70, 80]) await fingers.move([x - far, y], [x + far, y]);
  await fingers.up();
  const near = await view(page);
  expect(near.k / moved.k).toBeCloseTo(2, 1);
  expect(await page.evaluate(() => visualViewport?.scale)).toBe(1); // the page itself stays as it is
  await page.getByRole('button', { name: 'Fit', exact: true }).tap();
  await expect.poll(() => view(page)).toEqual(before);

  // A cable from the plug of what was tapped, and one from interface to bridge.
  await page.touchscreen.tap(...(await middle(thing(page, 'host1/kon1'))));
  await fingers.draw(await middle(page.getByTestId('plug-host1/kon1')), await middle(thing(page, 'host1')));
  await run(page);
  await page.touchscreen.tap(...(await middle(thing(page, 'host1')))); // where it shall be
  await page.getByTestId('build-bridge').tap();
  await run(page);
  await page.touchscreen.tap(...(await middle(thing(page, 'host1:veth10'))));
  await fingers.draw(
    await middle(page.getByTestId('plug-host1:veth10')),
    await middle(thing(page, 'host1:br0')),
  );
  await page.locator('[data-testid="link-host1:veth10"][data-master=br0]').waitFor();

  // A terminal.
  await page.getByTestId('tab-terminal').tap();
  await page.getByTestId('terminal-open-host1').tap();
  const screen = page.locator('.xterm-rows');
  await screen.getByText('host1').first().waitFor();
  await page.locator('.xterm-screen').tap();
  await page.keyboard.type('ip link set br0 up\n');
  await page.locator('[data-testid="link-host1:br0"][data-up=true]').waitFor();
  expect(await call(key, 'GET', `${path}/topology`)).toBeTruthy();
  expect(faults).toEqual([]);
});

test('on a phone: from pane to pane, and a cable with the tool', async () => {
  const { page, faults } = await open(phone);
  await page.emulateMedia({ reducedMotion: 'reduce' });
  await page.getByTestId('start-one-host-bridge').waitFor();
  await begin(page, 'one-host-bridge');
  const fingers = await Fingers.of(page);
  await page.getByTestId('run-containers').tap();
  await done(page, 'containers');

  await page.getByTestId('tab-topology').tap();
  await page.getByTestId('node-host1/kon2').waitFor();
  await page.getByTestId('build-cable').tap();
  await fingers.draw(await middle(thing(page, 'host1/kon1')), await middle(thing(page, 'host1/kon2')));
  await run(page);
  await page.getByTestId('build-cable').tap();
  // Up and down, too: nothing else scrolls here.
  const before = await view(page);
  const [x, y] = await middle(page.getByTestId('topology'));
  await fingers.draw([x, y + 150], [x, y + 60]);
  expect(Math.round((await view(page)).y - before.y)).toBe(-90);

  await page.getByTestId('tab-terminal').tap();
  await page.getByTestId('terminal-open-host1').tap();
  const screen = page.locator('.xterm-rows');
  await screen.getByText('host1').first().waitFor();
  await page.keyboard.type('echo hand-$((40+2))\n');
  await screen.getByText('hand-42').waitFor();
  await page.getByTestId('tab-packets').tap();
  await page.locator('[data-testid=packets][data-state=live]').waitFor();
  await page.getByTestId('tab-more').tap();
  await page.getByTestId('tab-probe').tap();
  await page.getByTestId('probe-send').waitFor();
  await page.getByTestId('tab-lesson').tap();
  await page.getByTestId('step-cables').waitFor();
  expect(faults).toEqual([]);
});

test('the picture of the home page lets a finger scroll the page', async () => {
  const { page } = await open(tablet);
  const fingers = await Fingers.of(page);
  const [x, y] = await middle(page.getByTestId('topology'));
  await fingers.draw([x, y], [x, y - 200]);
  await expect.poll(() => page.evaluate(() => scrollY)).toBeGreaterThan(50);
});

/** What a finger can press, and how large that is; with the halo that some have. */
function targets(): { name: string; width: number; height: number; main: boolean }[] {
  const found = document.querySelectorAll<HTMLElement>(
    'button, a[href], input, select, summary, [role=tab], [role=separator]',
  );
  return (
    [...found]
      .filter(
        (e) => e.checkVisibility({ visibilityProperty: true }) && !e.closest('svg, .xterm, .prose, .skip'),
      )
      .map((e) => {
        const around =
          e instanceof HTMLInputElement || e instanceof HTMLSelectElement ? e.closest('label') : null;
        const sizes = [e, ...(around ? [around] : [])].map((one) => one.getBoundingClientRect());
        const halo = getComputedStyle(e, '::after').content === '""' ? 22 : 0;
        const style = getComputedStyle(e, '::after');
        const more = halo && style.position === 'absolute' ? -2 * parseFloat(style.insetInlineStart) : 0;
        return {
          name: e.dataset.testid ?? e.getAttribute('aria-label') ?? e.textContent.trim().slice(0, 40),
          width: Math.max(...sizes.map((s) => s.width)) + more,
          height: Math.max(...sizes.map((s) => s.height)) + more,
          main: e.matches('.primary:not(.small), .strip button, .button:not(.small, .quiet, .beside)'),
        };
      })
      // What nobody sees is not for fingers; lines of packets lie far enough apart that their signs may be small.
      .filter(({ width, height, name }) => width > 1 && height > 1 && !name.startsWith('packets-fold'))
  );
}

test.each([
  ['tablet', tablet],
  ['phone', phone],
] as const)('what is pressed is large enough for a finger: %s', async (_, device) => {
  const { page } = await open(device);
  const small: Record<string, unknown[]> = {};
  const look = async (where: string): Promise<void> => {
    const all = await page.evaluate(targets);
    expect(all.length).toBeGreaterThan(3);
    const bad = all
      .filter(({ width, height, main }) => Math.min(width, height) < (main ? 44 : 24) - 0.01)
      .map(
        ({ name, width, height }) => `${name}: ${String(Math.round(width))}×${String(Math.round(height))}`,
      );
    if (bad.length > 0) small[where] = bad;
  };
  await page.getByTestId('start-one-namespace').waitFor();
  await look('home');
  await begin(page, 'one-namespace');
  await page.getByTestId('run-namespace').waitFor();
  await look('lesson');
  for (const pane of ['topology', 'terminal', 'packets'] as const) {
    if (device === phone) await page.getByTestId(`tab-${pane}`).tap();
    else if (pane === 'packets') await page.getByTestId('packets-toggle').tap();
    if (pane === 'topology') await page.getByTestId('build-container').waitFor();
    if (pane === 'packets') await page.locator('[data-testid=packets][data-state=live]').waitFor();
    if (pane === 'terminal') {
      await page.getByTestId('terminal-open-host1').tap();
      await page.locator('[data-testid="terminal-tab-host1"][data-state=live]').waitFor();
    }
    await look(pane);
  }
  expect(small).toEqual({});
});
