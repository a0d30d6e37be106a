// An author writes a lab beside its preview: what is saved is what the page shows.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { preview } from './kabel';

const place = mkdtempSync(join(tmpdir(), 'kabel-preview-'));
afterAll(() => {
  rmSync(place, { recursive: true, force: true });
});
const labs = join(place, 'mylabs');
execFileSync('../bin/server', ['lab', 'new', join(labs, 'first')]);

/** Saves a file of the lab with one passage changed, and says where that begins, as an editor counts. */
function edit(file: string, was: string, is: string): { line: number; column: number } {
  const path = join(labs, 'first', file);
  const before = readFileSync(path, 'utf8');
  expect(before.split(was), `${file} has “${was}” once`).toHaveLength(2);
  writeFileSync(path, before.replace(was, is));
  const lines = (before.split(was)[0] ?? '').split('\n');
  return { line: lines.length, column: (lines.at(-1) ?? '').length + 1 };
}

const { open, begin } = preview(labs);

test('a lab that can not be begun is told on the first page, with the place of its mistake, until it is mended', async () => {
  const { page, faults } = await open();
  await page.getByTestId('start-first').waitFor();
  const told = page.getByTestId('left-out');
  const at = edit('lab.yaml', 'minutes: 10', 'minuets: 10');
  await told.getByText(`lab.yaml:${String(at.line)}:1: the key "minuets" is not known here`).waitFor();
  await told.getByText('did you mean "minutes"?').waitFor();
  await page.getByTestId('start-first').waitFor({ state: 'detached' });
  edit('lab.yaml', 'minuets: 10', 'minutes: 10');
  await told.waitFor({ state: 'detached' });
  await page.getByTestId('start-first').waitFor();
  expect(faults).toEqual([]);
});

test('the page follows the files, and says where a mistake is', async () => {
  const { page, faults } = await open();
  await begin(page, 'first');
  const step = page.getByTestId('step-namespace');
  const mistakes = page.getByTestId('draft-mistakes');
  await step.getByText('Make a box').waitFor();

  // Words and commands are those that were saved last.
  edit('en.md', '## step namespace: Make a box', '## step namespace: Make a room of its own');
  await step.getByText('Make a room of its own').waitFor();
  edit('lab.yaml', '- ip netns add box\n', '- ip netns add box\n      - sysctl -w net.ipv4.ip_forward=1\n');
  await step.getByText('sysctl -w net.ipv4.ip_forward=1').waitFor();

  // A misspelt key is told with its place and the right one; the lab stays as it was, also for who comes anew.
  const at = edit('lab.yaml', "check: node('host1/box')", "chekc: node('host1/box')");
  const told = `lab.yaml:${String(at.line)}:${String(at.column)}: the key "chekc" is not known here`;
  await mistakes.getByText(told).getByText('did you mean "check"?').waitFor();
  await page.reload();
  await mistakes.getByText(told).waitFor();
  await page.getByTestId('run-namespace').click();
  await page.getByTestId('node-host1/box').waitFor();
  await page.locator('[data-testid="step-namespace"][data-state="done"]').waitFor();

  // So is a mistake in the words, and a name that the check has wrong.
  edit('lab.yaml', "chekc: node('host1/box')", "check: node('host1/bxo')");
  await mistakes.getByText('did you mean "host1/box"?').waitFor();
  edit('lab.yaml', "check: node('host1/bxo')", "check: node('host1/box')");
  await mistakes.waitFor({ state: 'detached' });
  const after = edit('en.md', '## step cable: Run', '## step cabel: Run');
  await mistakes
    .getByText(`en.md:${String(after.line)}:`)
    .first()
    .waitFor();
  edit('en.md', '## step cabel: Run', '## step cable: Lay');
  await mistakes.waitFor({ state: 'detached' });
  await page.getByTestId('step-cable').getByText('Lay a cable into it').waitFor();
  await page.locator('[data-testid="step-namespace"][data-state="done"]').waitFor();

  // What would have built another world is offered, not done.
  edit('lab.yaml', '- ip netns add box\n', '- ip netns add box\n      - ip link set lo up\n');
  await page.getByTestId('draft-stale').getByRole('button').click();
  await page.getByTestId('draft-stale').waitFor({ state: 'detached' });
  await page.locator('[data-testid="step-namespace"][data-state="todo"]').waitFor();
  expect(faults).toEqual([]);
});
