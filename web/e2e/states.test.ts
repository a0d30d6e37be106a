// What the page says when something is not as it should be.
import { expect, test } from 'vitest';
import { kabel } from './kabel';

const { open, begin, call } = kabel('--max-sessions', '1');

test('where all places are taken, it says how many there are, waits, and tries again', async () => {
  const first = await open();
  const one = await begin(first.page, 'one-namespace');
  const { page } = await open();
  await page.getByTestId('start-one-namespace').click();
  await page.locator('[data-testid=problem][data-code=full]').getByText('has room for: 1.').waitFor();
  await page.getByTestId('countdown').getByRole('timer').waitFor();
  await call(one.key, 'DELETE', one.path).catch(() => undefined); // it has no answer to read
  await page.getByTestId('countdown').getByRole('button').first().click();
  await page.getByTestId('node-host1').waitFor();
  await page.getByTestId('end').click();
  await page.getByTestId('confirm').click();
  await page.getByTestId('session-gone').waitFor();
});

test('a pane that fails takes nothing with it; a picture that is not live says so', async () => {
  const { page } = await open();
  let [wrong, down] = [true, false];
  let cut = (): void => undefined;
  await page.routeWebSocket(/\/stream$/, (ws) => {
    if (down) return void ws.close({ code: 1011 });
    cut = () => void ws.close({ code: 1011 });
    const server = ws.connectToServer();
    server.onMessage((m) => {
      const said = JSON.parse(String(m)) as { snapshot?: { nodes: unknown } };
      if (wrong && said.snapshot) said.snapshot.nodes = [{}];
      ws.send(JSON.stringify(said));
    });
  });
  await begin(page, 'one-namespace');
  await page.getByTestId('pane-topology').getByTestId('pane-fault').waitFor();
  await page.getByTestId('run-namespace').click();
  await page.locator('[data-testid="step-namespace"][data-state="done"]').waitFor();
  wrong = false;
  await page.reload();
  await page.getByTestId('node-host1/kon').waitFor();

  down = true;
  cut();
  await page.locator('[data-testid=stale][data-why=reconnecting]').waitFor();
  down = false;
  await page.getByTestId('stale').waitFor({ state: 'detached' });
  await page.locator('[data-testid=connection][data-state=live]').waitFor();
  expect(await page.getByTestId('node-host1/kon').isVisible()).toBe(true);
});
