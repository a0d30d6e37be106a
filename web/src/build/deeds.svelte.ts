import { machineOf } from '../snapshot';
import type { Store } from '../store.svelte';
import type { Command, NodeId, Problem } from '../wire';
import type { Action, Words } from './actions';
import { changesBetween, facts, type Change, type Fact, type Facts } from './facts';
import { keep, recall } from './memory';
import { wayTo, without, type Way } from './restore';

/** Something that was done by hand, and what the kernel made of it. */
export interface Deed {
  readonly number: number;
  readonly action: Action;
  readonly machine: NodeId;
  readonly at: Date;
  readonly beginning: number;
  /** How many of its commands were done. */
  done: number;
  problem?: Problem;
  /** What was different afterwards, as far as it still stands. */
  changes: Change[];
  undone: boolean;
}

/** Why something is not undone or done again. */
export interface Refusal {
  deed: Deed;
  why: 'changed' | 'impossible';
  about: string[];
}

/** What was done by hand in a session, in its order, and back and forth in it. */
export class Deeds {
  list = $state.raw<Deed[]>([]);
  /** What is under way. */
  running = $state.raw<Words | null>(null);
  refusal = $state.raw<Refusal | null>(null);
  /** What an undo could not bring back. */
  missing = $state.raw<string[]>([]);
  /** What was done before the page was loaded is no longer listed: the world was built anew. */
  lost = $state(false);

  readonly #store: Store;
  #again = $state.raw<Deed[]>([]);
  #count = 0;
  #restored = false;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Goes on where the page was before it was loaded again, and tells whether it does; there has to be a snapshot. */
  restore(): boolean {
    const { session, snapshot } = this.#store;
    if (!session || !snapshot || this.#restored) return false;
    this.#restored = true;
    const kept = recall(session.id, snapshot);
    this.lost = kept === 'other world';
    if (!kept || kept === 'other world') return false;
    this.list = kept.list;
    this.#count = Math.max(0, ...kept.list.map((d) => d.number));
    this.#again = kept.again.flatMap((n) => kept.list.find((d) => d.number === n) ?? []);
    return true;
  }

  #keep(): void {
    const { session, snapshot, beginnings } = this.#store;
    if (!session || !snapshot) return;
    // A page that is loaded again begins to count the world's beginnings again.
    const list = this.list.map((d) => ({ ...d, beginning: d.beginning === beginnings ? 0 : -1 }));
    keep(session.id, snapshot, list, this.#again);
  }

  get #live(): Deed[] {
    return this.list.filter((d) => d.beginning === this.#store.beginnings);
  }
  /** What an undo takes back. */
  get last(): Deed | undefined {
    return this.#live.findLast((d) => !d.undone && d.changes.length > 0);
  }
  /** What a redo does again. */
  get next(): Deed | undefined {
    const deed = this.#again.at(-1);
    return deed?.beginning === this.#store.beginnings ? deed : undefined;
  }

  /** Does it; the deed has a problem where that did not work. Undefined while another is under way. */
  async do(action: Action): Promise<Deed | undefined> {
    if (this.running) return undefined;
    const deed: Deed = {
      number: ++this.#count,
      action,
      machine: machineOf(action.commands[0]?.node ?? ''),
      at: new Date(),
      beginning: this.#store.beginnings,
      done: 0,
      changes: [],
      undone: false,
    };
    await this.#run(deed);
    this.#again = [];
    this.list = [...this.list, deed];
    this.#keep();
    return deed;
  }

  /** The commands that take a deed back, as the world is now. */
  wayBack(deed: Deed): Way {
    const now = this.#facts(deed);
    return wayTo(now, without(now, deed.changes));
  }

  async undo(): Promise<void> {
    const deed = this.last;
    if (!deed || this.running) return;
    this.#quiet();
    const now = this.#facts(deed);
    const about = misfits(now, deed.changes);
    if (about.length > 0) {
      this.refusal = { deed, why: 'changed', about };
      return;
    }
    const goal = without(now, deed.changes);
    const way = wayTo(now, goal);
    if (way.commands.length === 0 && way.impossible.length > 0) {
      this.refusal = { deed, why: 'impossible', about: way.impossible.map(subject) };
      return;
    }
    const problem = await this.#send(deed.action.title, way.commands);
    const after = this.#facts(deed);
    const left = deed.changes.filter(({ fact, was }) => matters(fact) && after.get(fact) !== was);
    this.missing = [...new Set(left.map((c) => subject(c.fact)))];
    if (problem) this.#replace(deed, { ...deed, problem, changes: left });
    else {
      const undone = { ...deed, undone: true };
      this.#replace(deed, undone);
      this.#again = [...this.#again, undone];
    }
    this.#keep();
  }

  async redo(): Promise<void> {
    const deed = this.next;
    if (!deed || this.running) return;
    this.#quiet();
    const about = misfits(this.#facts(deed), deed.changes.map(turned));
    if (about.length > 0) {
      this.refusal = { deed, why: 'changed', about };
      return;
    }
    const again = { ...deed, undone: false, at: new Date() };
    delete again.problem;
    await this.#run(again);
    this.#again = this.#again.filter((d) => d !== deed);
    // It was done last, whatever was done when it was first done.
    this.list = [...this.list.filter((d) => d !== deed), again];
    this.#keep();
  }

  /** Takes a deed that can't be undone out of the way of those before it. */
  forget(deed: Deed): void {
    this.#quiet();
    this.list = this.list.filter((d) => d.number !== deed.number);
    this.#again = this.#again.filter((d) => d.number !== deed.number);
    this.#keep();
  }

  #quiet(): void {
    this.refusal = null;
    this.missing = [];
  }

  #facts(deed: Deed): Facts {
    return facts(this.#store.snapshot, deed.machine);
  }

  #replace(deed: Deed, by: Deed): void {
    this.list = this.list.map((d) => (d === deed ? by : d));
  }

  async #run(deed: Deed): Promise<void> {
    this.#quiet();
    const before = this.#facts(deed);
    const built = await this.#build(deed.action.title, deed.action.commands);
    deed.done = built.done;
    if (built.problem) deed.problem = built.problem;
    deed.changes = changesBetween(before, this.#facts(deed));
  }

  async #send(title: Words, commands: Command[]): Promise<Problem | undefined> {
    return (await this.#build(title, commands)).problem;
  }

  async #build(title: Words, commands: Command[]): Promise<{ done: number; problem?: Problem }> {
    this.running = title;
    try {
      const built = await this.#store.build(commands);
      await this.#store.reached(built.revision);
      return built;
    } finally {
      this.running = null;
    }
  }
}

const turned = ({ fact, was, is }: Change): Change => ({
  fact,
  ...(is !== undefined && { was: is }),
  ...(was !== undefined && { is: was }),
});

/** An interface that is made again has another address on the wire, and that is no difference. */
const matters = (fact: Fact): boolean => !fact.startsWith('mac ');

/** The interface or the namespace that a statement is about. */
const subject = (fact: Fact): string => fact.split(' ')[1] ?? '';

/**
 * What has changed since: it is no longer as the changes left it, or something
 * else hangs on what would be taken away.
 */
export function misfits(now: Facts, changes: Change[]): string[] {
  const out = new Set<string>();
  const mine = new Map(changes.map((c) => [c.fact, c.is]));
  for (const { fact, was, is } of changes) {
    const [what, id = ''] = fact.split(' ');
    // Settings of a new namespace are read a little later.
    if (!matters(fact) || (what === 'sysctl' && was === undefined)) continue;
    if (now.get(fact) !== is) out.add(id);
    if (was !== undefined || (what !== 'node' && what !== 'link')) continue;
    for (const [other, value] of now) {
      if (!mine.has(other) && hangsOn(other, value, id)) out.add(subject(other));
    }
  }
  return [...out].filter((id) => !id.includes(':') || !out.has(id.split(':', 1)[0] ?? ''));
}

/** Whether a statement falls with a namespace or an interface. */
function hangsOn(fact: Fact, value: string, id: string): boolean {
  const [what, about = ''] = fact.split(' ');
  if (what === 'sysctl' || what === 'mac') return false;
  if (about === id || about.startsWith(`${id}:`)) return true;
  const [node, dev] = id.split(':');
  if (dev === undefined || value !== dev) return false;
  return (what === 'route' && about === node) || (what === 'master' && about.startsWith(`${node}:`));
}
