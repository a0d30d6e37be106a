import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Terminals, type Tab } from './terminals.svelte';

let kept: Map<string, string>;
let listed: { id: string; node: string }[];
let asked: string[];
let all: Terminals;

const store = () => ({
  getItem: (k: string) => kept.get(k) ?? null,
  setItem: (k: string, v: string) => void kept.set(k, v),
});
const names = (): string[] => all.tabs.map((t) => `${t.node} ${t.number}`);

/** As the server would: the shell is there and has an id. */
function run(tab: Tab, id: string): Tab {
  tab.id = id;
  tab.state = 'live';
  return tab;
}

beforeEach(() => {
  [kept, listed, asked] = [new Map(), [], []];
  vi.stubGlobal('localStorage', store());
  vi.stubGlobal('fetch', (url: string, how: RequestInit) => {
    asked.push(`${how.method ?? 'GET'} ${url}`);
    return Promise.resolve({ ok: true, status: 200, json: () => Promise.resolve(listed) });
  });
  all = new Terminals('s1');
});
afterEach(() => vi.unstubAllGlobals());

test('those that run are there after a reload, with the one that was in front', async () => {
  run(all.open('host1'), 'a');
  const second = run(all.open('host1/kon'), 'b');
  run(all.open('host1'), 'c');
  all.show(second);
  listed = ['a', 'b', 'c'].map((id, i) => ({ id, node: i === 1 ? 'host1/kon' : 'host1' }));
  all = new Terminals('s1');
  await all.restore();
  expect(names()).toEqual(['host1 1', 'host1/kon 1', 'host1 2']);
  expect(all.active?.id).toBe('b');
});

describe('typing for the reader', () => {
  test('goes to the terminal in front if it is of the node, else to its newest', () => {
    const first = run(all.open('host1'), 'a');
    const second = run(all.open('host1'), 'b');
    run(all.open('host2'), 'c');
    expect(all.at('host1')).toBe(second);
    all.show(first);
    expect(all.at('host1')).toBe(first);
  });

  test('opens one where there is none, also where one was', () => {
    const first = run(all.at('host1'), 'a');
    first.end = { code: 0 };
    const next = all.at('host1');
    expect(next).not.toBe(first);
    expect(names()).toEqual(['host1 1']);
  });

  test('waits until the shell has shown something', () => {
    const typed: string[] = [];
    const screen = { focus: () => typed.push('focus'), paste: (text: string) => typed.push(text) };
    const tab = all.at('host1');
    tab.paste('ip link');
    tab.shown(screen);
    expect(typed).toEqual(['focus']);
    tab.prompted();
    tab.prompted();
    expect(typed).toEqual(['focus', 'ip link']);
  });
});

test('closing ends a shell that runs, and shows its neighbour', () => {
  const first = run(all.open('host1'), 'a');
  const second = run(all.open('host1/kon'), 'b');
  all.close(second);
  expect(all.active).toBe(first);
  expect(asked).toEqual(['DELETE /api/v1/sessions/s1/terminals/host1%2Fkon?terminal=b']);
  first.end = { code: 0 };
  all.close(first);
  expect(all.active).toBeNull();
  expect(asked).toHaveLength(1);
});

test('the size of the letters has bounds and is remembered', () => {
  const all = new Terminals('s1');
  all.resize(2);
  expect([all.size, new Terminals('s2').size]).toEqual([15, 15]);
  all.resize(100);
  expect(all.size).toBe(26);
  all.resize(-100);
  expect(all.size).toBe(9);
});

test('the font is remembered, and an unknown one is ours', () => {
  expect(all.font).toBe('own');
  all.write('legible');
  expect(new Terminals('s2').font).toBe('legible');
  kept.set('kabel.terminalFont', 'wingdings');
  expect(new Terminals('s3').font).toBe('own');
});

describe('several in sight', () => {
  let first: Tab;
  const seen = (): string[] => all.seen.map((t) => `${t.node} ${t.number}`);
  beforeEach(() => {
    first = run(all.open('host1'), 'a');
  });

  test('splitting opens one more on the same node, four at the most', () => {
    all.split('columns');
    run(all.active as Tab, 'b');
    expect([all.flow, seen()]).toEqual(['columns', ['host1 1', 'host1 2']]);
    all.show(first);
    all.split('columns');
    expect([all.flow, seen()]).toEqual(['columns', ['host1 1', 'host1 3', 'host1 2']]);
    all.split('rows');
    expect([all.flow, seen().length]).toEqual(['grid', 4]);
    all.split('rows');
    expect(seen().length).toBe(4);
  });

  test('a tab that is not in sight takes the place of the active one', () => {
    const second = run(all.open('host2'), 'b');
    expect(seen()).toEqual(['host2 1']);
    all.split('rows');
    expect([all.flow, seen()]).toEqual(['rows', ['host2 1', 'host2 2']]);
    all.show(first);
    expect(seen()).toEqual(['host2 1', 'host1 1']);
    all.turnTo(second);
    expect([seen(), all.active]).toEqual([['host2 1', 'host1 1'], second]);
    all.next();
    expect(all.active).toBe(first);
  });

  test('one that is hidden or closed leaves its place to the others', () => {
    all.split('columns');
    const second = run(all.active as Tab, 'b');
    all.hide(second);
    expect([seen(), all.active, names()]).toEqual([['host1 1'], first, ['host1 1', 'host1 2']]);
    all.hide(first); // something stays in sight
    expect(seen()).toEqual(['host1 1']);
    all.close(first);
    expect([seen(), all.active]).toEqual([['host1 2'], second]);
    all.close(second);
    expect([seen(), all.active]).toEqual([[], null]);
  });

  test('they are there again after a reload, those that still run', async () => {
    all.split('columns');
    run(all.active as Tab, 'b');
    all.split('rows');
    run(all.active as Tab, 'c');
    all.remember();
    listed = ['a', 'c', 'd'].map((id) => ({ id, node: 'host1' }));
    all = new Terminals('s1');
    await all.restore();
    expect([all.flow, all.seen.map((t) => t.id), all.active?.id]).toEqual(['grid', ['a', 'c'], 'c']);
    const other = new Terminals('s2');
    await other.restore();
    expect(other.seen.map((t) => t.id)).toEqual(['a']);
  });
});
