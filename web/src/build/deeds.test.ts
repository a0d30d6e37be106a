import { beforeEach, describe, expect, test, vi } from 'vitest';
import { Refused, ToyWorld } from '../../mock/world';
import { RequestError, type Api } from '../api';
import type { StreamEvents } from '../socket';
import { Store } from '../store.svelte';
import type { Lab, Session, Snapshot } from '../wire';
import * as act from './actions';
import { Deeds } from './deeds.svelte';
import { facts } from './facts';

const session: Session = {
  id: 's',
  lab: 'l',
  variant: '',
  language: 'en',
  state: 'ready',
  steps: [],
  nodes: [],
};

let remembered: Map<string, string>;
beforeEach(() => {
  remembered = new Map();
  vi.stubGlobal('sessionStorage', {
    getItem: (k: string) => remembered.get(k) ?? null,
    setItem: (k: string, v: string) => void remembered.set(k, v),
    removeItem: (k: string) => void remembered.delete(k),
  });
});

const toy = (): ToyWorld =>
  new ToyWorld(
    [
      ['host1', 'host'],
      ['host2', 'host'],
    ],
    [['host1:eth0', 'host2:eth0']],
  );

type Opened = { world: ToyWorld; deeds: Deeds; store: Store; type(line: string): void };

/** A page on a toy world, as it is once it is open. */
async function page(...commands: string[]): Promise<Opened> {
  const world = toy();
  for (const c of commands) world.run('host1', c);
  return openOn(world);
}

async function openOn(world: ToyWorld): Promise<Opened> {
  let events: StreamEvents | undefined;
  const show = (): void => events?.message({ type: 'snapshot', snapshot: world.snapshot() });
  const api: Partial<Api> = {
    session: async () => session,
    lab: async () => ({ steps: [] as Lab['steps'] }) as Lab,
    streamUrl: () => '',
    op: async (_, node, command) => {
      said.add(`${node}\t${command}`);
      try {
        world.run(node, command);
      } catch (e) {
        if (!(e instanceof Refused)) throw e;
        throw new RequestError({ code: 'op-failed', title: '', errno: e.errno, command });
      }
      // The stream comes after the answer.
      queueMicrotask(show);
      return { ...session, revision: world.revision, command };
    },
  };
  const store = new Store(api as Api, (_, e) => {
    events = e;
    return { resync: () => undefined, present: () => undefined, close: () => undefined };
  });
  await store.open('s', 'en');
  show();
  const type = (line: string): void => {
    world.run('host1', line);
    show();
  };
  const deeds = new Deeds(store);
  deeds.restore();
  return { world, deeds, store, type };
}

const state = (s: Snapshot): string[] =>
  [...facts(s, 'host1')]
    .filter(([fact]) => !fact.startsWith('mac '))
    .map(([fact, value]) => `${fact} = ${value}`)
    .toSorted();

const container = [
  'ip netns add c1',
  'ip link add veth0 type veth peer name ceth0 netns c1',
  'ip -n c1 addr add 172.16.0.2/24 dev ceth0',
  'ip -n c1 link set ceth0 up',
  'ip link set veth0 up',
  'ip -n c1 route add default via 172.16.0.1 dev ceth0',
  'ip link add br0 type bridge',
  'ip link set br0 up',
];

/** Every line that was sent. */
const said = new Set<string>();

describe('every action is undone, and done again', () => {
  test.each<[string, (s: Snapshot) => act.Action]>([
    ['add a container', () => act.addContainer('host1', 'c2')],
    ['delete one', (s) => act.deleteContainer(s, 'host1/c1')],
    ['add a bridge', () => act.addBridge('host1', 'br1', true)],
    ['add one inside', () => act.addBridge('host1/c1', 'br1', false)],
    ['delete a bridge', (s) => act.deleteLink(s, 'host1:br0')],
    ['delete a cable by one end', (s) => act.deleteLink(s, 'host1/c1:ceth0')],
    ['lay a cable', () => act.cable({ node: 'host1', name: 'a' }, { node: 'host1/c1', name: 'b' }, true)],
    [
      'lay one to a bridge',
      () => act.cable({ node: 'host1/c1', name: 'a' }, { node: 'host1', name: 'b', bridge: 'br0' }, true),
    ],
    [
      'lay one with both ends here',
      () => act.cable({ node: 'host1', name: 'a' }, { node: 'host1', name: 'b' }, false),
    ],
    ['attach', () => act.attach('host1:veth0', 'br0')],
    ['move in', () => act.moveTo('host1:veth0', 'host1/c1')],
    ['move out', () => act.moveTo('host1/c1:ceth0', 'host1')],
    ['pull a cable', () => act.setState('host1/c1:ceth0', false)],
    ['add an address', () => act.changeAddress('host1:br0', 'add', '172.16.0.1/24')],
    ['remove an address', () => act.changeAddress('host1/c1:ceth0', 'del', '172.16.0.2/24')],
    ['add a route', () => act.changeRoute('host1', 'add', '10.9.0.0/16 dev br0')],
    ['remove a route', () => act.changeRoute('host1/c1', 'del', 'default via 172.16.0.1 dev ceth0')],
    ['set the MTU', () => act.setMtu('host1:veth0', 1400)],
    ['forward', () => act.setSetting('host1', 'net.ipv4.ip_forward', '1')],
    ['forward inside', () => act.setSetting('host1/c1', 'net.ipv4.ip_forward', '1')],
    ['masquerade', () => act.masquerade('host1', '172.16.0.0/24', { notBy: 'br0' })],
    ['masquerade by one interface', () => act.masquerade('host1', '172.16.0.0/24', { by: 'eth0' })],
    [
      'publish a port',
      () =>
        act.publish('host1', { protocol: 'tcp', at: '10.0.0.10', port: 8080, to: '172.16.0.2', toPort: 80 }),
    ],
    ['drop what is forwarded', () => act.setPolicy('host1', 'DROP')],
  ])('%s', async (_, make) => {
    const { world, deeds } = await page(...container);
    const was = state(world.snapshot());
    const deed = await deeds.do(make(world.snapshot()));
    expect(deed?.problem).toBeUndefined();
    const is = state(world.snapshot());
    expect(is).not.toEqual(was);
    await deeds.undo();
    expect([deeds.refusal, deeds.missing]).toEqual([null, []]);
    expect(state(world.snapshot())).toEqual(was);
    expect(deeds.last).toBeUndefined();
    await deeds.redo();
    expect(deeds.refusal).toBeNull();
    expect(state(world.snapshot())).toEqual(is);
    expect(deeds.next).toBeUndefined();
    await deeds.undo();
    expect(state(world.snapshot())).toEqual(was);
  });
});

test('several are undone in the other order', async () => {
  const { world, deeds } = await page();
  const was = state(world.snapshot());
  await deeds.do(act.addContainer('host1', 'c1'));
  await deeds.do(act.cable({ node: 'host1', name: 'veth0' }, { node: 'host1/c1', name: 'ceth0' }, true));
  await deeds.do(act.changeAddress('host1/c1:ceth0', 'add', '172.16.0.2/24'));
  const is = state(world.snapshot());
  for (let i = 0; i < 3; i++) await deeds.undo();
  expect(state(world.snapshot())).toEqual(was);
  for (let i = 0; i < 3; i++) await deeds.redo();
  expect(state(world.snapshot())).toEqual(is);
});

test('what was done before the kernel refused is kept, and undone', async () => {
  const { world, deeds, store } = await page('ip netns add c1', 'ip link add x type bridge');
  const was = state(world.snapshot());
  const bad = act.cable({ node: 'host1', name: 'a', bridge: 'nope' }, { node: 'host1/c1', name: 'b' }, true);
  const deed = await deeds.do(bad);
  expect([deed?.done, deed?.problem?.errno]).toEqual([1, 'ENODEV']);
  expect(store.snapshot?.nodes?.[0]?.links?.map((l) => l.name)).toContain('a');
  await deeds.undo();
  expect(state(world.snapshot())).toEqual(was);
});

describe('where the world has changed meanwhile, nothing is forced', () => {
  test.each<[string, act.Action, string, string]>([
    ['it is gone', act.addContainer('host1', 'c2'), 'ip netns del c2', 'host1/c2'],
    ['something is in it', act.addContainer('host1', 'c2'), 'ip link set veth0 netns c2', 'host1/c2:veth0'],
    [
      'something hangs on it',
      act.addBridge('host1', 'br1', true),
      'ip link set veth0 master br1',
      'host1:veth0',
    ],
    [
      'it has an address',
      act.addBridge('host1', 'br1', true),
      'ip addr add 10.1.0.1/24 dev br1',
      'host1:br1',
    ],
    ['it has a route', act.addBridge('host1', 'br1', true), 'ip route add 10.1.0.0/24 dev br1', 'host1'],
    ['it was set otherwise', act.setMtu('host1:br0', 1400), 'ip link set br0 mtu 1300', 'host1:br0'],
  ])('%s', async (_, done, typed, about) => {
    const { world, deeds, type } = await page(...container);
    await deeds.do(done);
    type(typed);
    const was = state(world.snapshot());
    await deeds.undo();
    expect(deeds.refusal?.why).toBe('changed');
    expect(deeds.refusal?.about).toContain(about);
    expect(state(world.snapshot())).toEqual(was);
    const { deed } = deeds.refusal ?? {};
    if (deed) deeds.forget(deed);
    expect([deeds.last, deeds.refusal]).toEqual([undefined, null]);
  });

  test('a redo neither', async () => {
    const { deeds, type } = await page();
    await deeds.do(act.addContainer('host1', 'c1'));
    await deeds.undo();
    type('ip netns add c1');
    await deeds.redo();
    expect(deeds.refusal).toMatchObject({ why: 'changed', about: ['host1/c1'] });
  });
});

test('a wire of the lab can’t be laid again, which is said before and after', async () => {
  const { world, deeds } = await page();
  const cut = act.deleteLink(world.snapshot(), 'host1:eth0');
  expect(cut.losses.map((l) => l.key)).toEqual(['build.loss.wire']);
  await deeds.do(cut);
  await deeds.undo();
  expect(deeds.refusal).toMatchObject({ why: 'impossible', about: ['host1:eth0'] });
});

test('a world that begins anew has nothing to undo', async () => {
  const { deeds, store } = await page();
  await deeds.do(act.addContainer('host1', 'c1'));
  store.beginnings++;
  expect(deeds.last).toBeUndefined();
  expect(deeds.list).toHaveLength(1);
});

describe('after a reload of the page', () => {
  test('what was done is listed, undone and done again as if nothing had been', async () => {
    const { world, deeds } = await page();
    const before = state(world.snapshot());
    await deeds.do(act.addContainer('host1', 'c1'));
    const between = state(world.snapshot());
    await deeds.do(act.addBridge('host1', 'br0', true));
    await deeds.undo();

    const { deeds: again } = await openOn(world);
    expect(again.list).toEqual(deeds.list);
    expect([again.last?.number, again.next?.number, again.lost]).toEqual([1, 2, false]);
    await again.redo();
    await again.undo();
    expect(state(world.snapshot())).toEqual(between);
    await again.undo();
    expect(state(world.snapshot())).toEqual(before);
    const third = await again.do(act.addContainer('host1', 'c2'));
    expect(third?.number).toBe(3);
  });

  test('what was typed meanwhile is not undone in its place', async () => {
    const { world, deeds } = await page();
    await deeds.do(act.addContainer('host1', 'c1'));
    world.run('host1', 'ip netns del c1');
    const { deeds: again } = await openOn(world);
    await again.undo();
    expect(again.refusal).toMatchObject({ why: 'changed', about: ['host1/c1'] });
  });

  test('of a world before the last reset nothing can be undone', async () => {
    const { world, deeds, store } = await page();
    await deeds.do(act.addContainer('host1', 'c1'));
    store.beginnings++;
    await deeds.do(act.addContainer('host1', 'c2'));
    await deeds.undo();
    const { deeds: again } = await openOn(world);
    expect(again.list).toHaveLength(2);
    expect(again.last).toBeUndefined();
  });

  test.each([
    ['that counts its revisions from the beginning', (w: ToyWorld) => (w.revision = 1)],
    [
      'whose wires are others',
      (w: ToyWorld) => {
        w.revision = 1000;
        for (const node of ['host1', 'host2']) w.run(node, 'ip link set eth0 address 02:00:00:00:99:01');
      },
    ],
  ])('another world %s has no history, and says so', async (_, rebuild) => {
    const { deeds } = await page();
    await deeds.do(act.addContainer('host1', 'c1'));
    const anew = toy();
    rebuild(anew);
    const { deeds: again } = await openOn(anew);
    expect([again.list, again.lost]).toEqual([[], true]);
    const { deeds: later } = await openOn(anew);
    expect(later.lost).toBe(false);
  });
});

// labs/command_test.go reads the file: the server must understand what the page sends.
test('what was sent is written down', async () => {
  await expect([...said].toSorted().join('\n') + '\n').toMatchFileSnapshot('commands.txt');
});
