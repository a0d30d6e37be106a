import { getContext, setContext } from 'svelte';
import { SvelteMap, SvelteSet } from 'svelte/reactivity';
import { RequestError, type Api } from './api';
import { applyDiff, changedBetween, splitLink } from './snapshot';
import type { Connection, StreamEvents } from './socket';
import type {
  Catalogue,
  Command,
  ExecResult,
  FreeWorld,
  Lab,
  LabSummary,
  LinkId,
  NodeId,
  Probe,
  ProbeResult,
  Problem,
  Progress,
  Session,
  Snapshot,
  StepChanges,
  StreamMessage,
  Term,
} from './wire';

/** What the store needs of a Stream. */
interface Line {
  resync(): void;
  present(here: boolean): void;
  close(): void;
}
export type OpenLine = (url: string, events: StreamEvents, alive: () => Promise<boolean>) => Line;

/** Where an action was asked for: its progress and its problem are shown there. */
export type Spot =
  | 'labs'
  | 'catalogue'
  | 'progress'
  | 'forget'
  | 'lab'
  | 'session'
  | 'probe'
  | 'command'
  | 'build'
  | `start:${string}`
  | `step:${string}`
  | `predict:${string}`
  | `line:${string}`
  | `probe:${string}`;

/** What the command box did last. */
export type Ran = { node: NodeId; line: string } & ({ done: string } | { exec: ExecResult });

/** How far a row of commands came; `revision` is of what the kernel had then. */
export interface Built {
  done: number;
  revision: number;
  problem?: Problem;
}

const keptResults = 30;

/** Labs that no list has: a world of the learner's choice, and the one that plays by itself. */
export const freePlay = 'free-play';
export const demo = 'demo';

/**
 * All that the page knows. Components read it and send intents; only the
 * server's messages change what it says about the world.
 */
export class Store {
  labs = $state.raw<LabSummary[] | null>(null);
  catalogue = $state.raw<Catalogue | null>(null);
  progress = $state.raw<Progress | null>(null);
  lab = $state.raw<Lab | null>(null);
  session = $state.raw<Session | null>(null);
  snapshot = $state.raw<Snapshot | null>(null);
  connection = $state<Connection>('connecting');
  /** Whether the server did not even answer while the connection was away. */
  unreachable = $state(false);
  /** Until when the picture was live, while it is not. */
  liveUntil = $state.raw<Date | null>(null);
  /** Why the session ended, where the server told. */
  ended = $state<string | null>(null);
  /** Why the lab that an author edits is still shown as it was before. */
  mistakes = $state.raw<readonly string[]>([]);
  results = $state.raw<ProbeResult[]>([]);
  ran = $state.raw<Ran | null>(null);
  /** What differs between the last two snapshots that differed visibly. */
  changed = $state.raw<ReadonlySet<NodeId | LinkId>>(new Set());
  selected = $state<NodeId | LinkId | null>(null);

  /** How often the open session's world began anew. */
  beginnings = $state(0);

  /** Which of a step's commands were run from the page, as "step number". */
  readonly #lines = new SvelteSet<string>();
  readonly #outcomes = new SvelteMap<string, ProbeResult>();
  readonly #busy = new SvelteMap<Spot, boolean>();
  readonly #problems = new SvelteMap<Spot, Problem>();
  #line: Line | null = null;
  #waiting: (() => void)[] = [];
  #language = 'en';
  /** Counts the sessions opened and left: an answer may come when the reader is elsewhere. */
  #visit = 0;
  #here = true;
  /** The lab was edited while it was being read. */
  #edited = false;

  constructor(
    readonly api: Api,
    private readonly openLine: OpenLine,
  ) {}

  busy(spot: Spot): boolean {
    return this.#busy.get(spot) ?? false;
  }
  problem(spot: Spot): Problem | undefined {
    return this.#problems.get(spot);
  }
  dismiss(spot: Spot): void {
    this.#problems.delete(spot);
  }

  /** A store for another world that is shown on the same page. */
  beside(): Store {
    return new Store(this.api, this.openLine);
  }

  async loadLabs(language: string): Promise<void> {
    this.#language = language;
    await this.#do('labs', () =>
      this.#inLanguage(async (l) => {
        this.labs = await this.api.labs(l);
      }),
    );
  }

  /** Asks which labs are left out, and reads the labs again where they were edited since. */
  async loadCatalogue(): Promise<void> {
    const before = this.catalogue?.edition;
    await this.#do('catalogue', async () => {
      const now = await this.api.catalogue();
      if (before !== undefined && before !== now.edition) await this.loadLabs(this.#language);
      this.catalogue = now;
    });
  }

  async loadProgress(): Promise<void> {
    await this.#do('progress', async () => {
      this.progress = await this.api.progress();
    });
  }

  /** Has the server forget what was done; false where that failed. */
  async forget(): Promise<boolean> {
    let forgotten = false;
    await this.#do('forget', async () => {
      await this.api.forget();
      this.progress = { labs: [] };
      forgotten = true;
    });
    return forgotten;
  }

  /** Begins a new session; null where that failed. */
  async start(lab: string, variant: string, language: string): Promise<Session | null> {
    return this.#begin(lab, () => this.api.create(lab, variant, language));
  }

  /** Begins a session with a world of the reader's choice, and nothing to be done in it. */
  async startFree(world: FreeWorld, language: string): Promise<Session | null> {
    return this.#begin(freePlay, () => this.api.createFree(world, language));
  }

  async #begin(lab: string, create: () => Promise<Session>): Promise<Session | null> {
    let made: Session | null = null;
    await this.#do(`start:${lab}`, async () => {
      made = await create();
    });
    return made;
  }

  /** Follows the world that plays by itself for everybody, until hold or leave. */
  openDemo(): void {
    this.#line?.close();
    this.#follow(this.api.demoUrl('stream'), async () => {
      try {
        await this.api.demoLab(this.#language);
        return true;
      } catch (e) {
        return !isGone(e);
      }
    });
  }

  /** Keeps what is shown as it is. */
  hold(): void {
    this.#line?.close();
    this.#line = null;
  }

  /** Reads what the demo's steps are called. */
  async nameDemo(language: string): Promise<void> {
    this.#language = language;
    const visit = this.#visit;
    await this.#do('lab', () =>
      this.#inLanguage(async (l) => {
        const lab = await this.api.demoLab(l);
        if (visit === this.#visit) this.lab = lab;
      }),
    );
  }

  /** Shows a session that exists, and follows it until leave. */
  async open(id: string, language: string): Promise<void> {
    this.leave();
    const visit = this.#visit;
    this.#language = language;
    await this.#do('session', async () => {
      try {
        const session = await this.#spoken(await this.api.session(id), language);
        const lab = await this.#readLab(session);
        if (visit !== this.#visit) return;
        this.session = session;
        this.lab = lab;
      } catch (e) {
        if (!isGone(e)) throw e;
        if (visit === this.#visit) this.connection = 'gone';
        return;
      }
      this.#follow(this.api.streamUrl(id), () => this.#alive(id));
    });
  }

  #follow(url: string, alive: () => Promise<boolean>): void {
    this.#line = this.openLine(
      url,
      { state: (c) => this.#connected(c), message: (m) => this.#receive(m) },
      alive,
    );
    this.#line.present(this.#here);
  }

  leave(): void {
    this.#visit++;
    this.#line?.close();
    this.#line = null;
    this.lab = this.session = this.snapshot = this.ended = this.ran = this.selected = null;
    this.results = [];
    this.mistakes = [];
    this.#outcomes.clear();
    this.#lines.clear();
    this.changed = new Set();
    this.connection = 'connecting';
    [this.liveUntil, this.unreachable] = [null, false];
    this.#problems.clear();
    this.beginnings = 0;
    for (const seen of this.#waiting.splice(0)) seen();
  }

  /** Whether the reader sees the page. */
  present(here: boolean): void {
    this.#here = here;
    this.#line?.present(here);
  }

  /** Asks for the session, which keeps its world, or brings it back. */
  async stay(): Promise<void> {
    await this.#inSession('session', async (id) => {
      const session = await this.api.session(id);
      return () => (this.session = session);
    });
  }

  /** Reads the lab's texts again, and has the hints told, in another language. */
  async translate(language: string): Promise<void> {
    this.#language = language;
    await this.#inSession('lab', async () => {
      let translated = (): void => undefined;
      await this.#inLanguage(async (l) => {
        const before = this.session;
        if (!before) return;
        const session = await this.#spoken(before, l);
        const lab = await this.#readLab(session);
        translated = () => {
          this.lab = lab;
          // What the stream has told of it meanwhile is newer.
          if (session !== before) this.session = session;
        };
      });
      return translated;
    });
  }

  /** The session, speaking a language. */
  async #spoken(session: Session, language: string): Promise<Session> {
    return session.language === language ? session : this.api.speak(session.id, language);
  }

  /** Does a step; where some of its commands were run one by one, the rest of it. */
  async apply(step: string): Promise<void> {
    const { commands = [], probes = [] } = this.lab?.steps.find((s) => s.id === step) ?? {};
    const some = commands.some((_, i) => this.#lines.has(lineKey(step, i)));
    const left = commands.flatMap((_, i) => (this.#lines.has(lineKey(step, i)) ? [] : [i]));
    if (some && left.length > 0) return this.#rest(step, left, probes);
    await this.#inSession(`step:${step}`, async (id) => {
      try {
        const { revision: _, probes, ...session } = await this.api.apply(id, step);
        return () => {
          this.#keep(step, probes ?? []);
          this.#mark(step, commands.length);
          this.session = session;
        };
      } catch (e) {
        if (e instanceof RequestError && e.problem.applied) this.#mark(step, e.problem.applied);
        throw e;
      }
    });
  }

  /** Does one of a step's commands. */
  async runLine(step: string, i: number): Promise<void> {
    const line = this.lab?.steps.find((s) => s.id === step)?.commands[i];
    if (!line) return;
    await this.#inSession(lineSpot(step, i), async (id) => {
      const session: Session = await this.api.op(id, line.node, line.command);
      return () => {
        this.#lines.add(lineKey(step, i));
        this.session = session;
      };
    });
  }

  /** Whether a step's command was run from the page. */
  hasRun(step: string, i: number): boolean {
    return this.#lines.has(lineKey(step, i));
  }

  /** Tells the server that the reader has opened a step's hint; nothing depends on the answer. */
  async tellHint(step: string): Promise<void> {
    const id = this.session?.id;
    if (id === undefined) return;
    try {
      await this.api.hint(id, step);
    } catch (e) {
      if (!(e instanceof RequestError)) throw e;
    }
  }

  async predict(step: string, choice: string): Promise<void> {
    await this.#inSession(`predict:${step}`, async (id) => {
      const session = await this.api.predict(id, step, choice);
      return () => (this.session = session);
    });
  }

  async glossary(language: string): Promise<Term[]> {
    return this.api.glossary(language);
  }

  /** The kernel before and after a step; null where nobody knows. */
  async changesOf(step: string): Promise<StepChanges | null> {
    const id = this.session?.id;
    return id === undefined ? null : this.api.changes(id, step);
  }

  async reset(step?: string): Promise<void> {
    await this.#inSession(step ? `step:${step}` : 'session', async (id) => {
      const session = await this.api.reset(id, step);
      return () => {
        this.session = session;
        this.results = [];
        this.#outcomes.clear();
        this.#lines.clear();
        this.ran = null;
        this.beginnings++;
      };
    });
  }

  async end(): Promise<void> {
    await this.#inSession('session', async (id) => {
      await this.api.end(id);
      return () => (this.connection = 'gone');
    });
  }

  async probe(probe: Probe): Promise<void> {
    await this.#inSession('probe', async (id) => {
      const result = await this.api.probe(id, probe);
      return () => this.#keep(this.session?.current, [result]);
    });
  }

  /** Sends one of a step's own probes again. */
  async probeOf(step: string, probe: Probe): Promise<void> {
    await this.#inSession(spotOf(step, probe), async (id) => {
      const result = await this.api.probe(id, probe);
      return () => this.#keep(step, [result]);
    });
  }

  /** Does a command through the kernel's own interface, as a step does. */
  async op(node: NodeId, line: string): Promise<void> {
    await this.#inSession('command', async (id) => {
      this.ran = null;
      const { revision: _, command, ...session } = await this.api.op(id, node, line);
      return () => {
        this.session = session;
        this.ran = { node, line, done: command };
      };
    });
  }

  /** Does commands one after another, until one fails. */
  async build(commands: Command[]): Promise<Built> {
    const built: Built = { done: 0, revision: 0 };
    if (this.busy('build')) return built;
    await this.#inSession('build', async (id) => {
      for (const { node, command } of commands) {
        const { revision, command: _, ...session } = await this.api.op(id, node, command);
        built.done++;
        built.revision = revision;
        if (this.session?.id === id) this.session = session;
      }
      return () => undefined;
    });
    const problem = this.problem('build');
    return problem ? { ...built, problem } : built;
  }

  /** Waits until the page has seen a revision, or the session is left. */
  async reached(revision: number): Promise<void> {
    while (this.session && (this.snapshot?.revision ?? 0) < revision) {
      await new Promise<void>((seen) => this.#waiting.push(seen));
    }
  }

  /** Runs a line in a shell with the learner's rights. */
  async exec(node: NodeId, line: string): Promise<void> {
    await this.#inSession('command', async (id) => {
      this.ran = null;
      const exec = await this.api.exec(id, node, ['bash', '-c', line]);
      return () => (this.ran = { node, line, exec });
    });
  }

  select(id: NodeId | LinkId | null): void {
    this.selected = id;
  }

  /** The last result of a probe while the step was the current one. */
  resultOf(step: string, probe: Probe): ProbeResult | undefined {
    return this.#outcomes.get(`${step} ${keyOf(probe)}`);
  }

  #receive(m: StreamMessage): void {
    switch (m.type) {
      case 'session':
        this.session = m.session;
        return;
      case 'snapshot':
        return this.#show(m.snapshot);
      case 'diff': {
        const next = this.snapshot && applyDiff(this.snapshot, m.diff);
        if (next) this.#show(next);
        else this.#line?.resync();
        return;
      }
      case 'probe':
        return this.#keep(this.#running() ?? this.session?.current, [m.result]);
      case 'lab':
        this.mistakes = m.mistakes ?? [];
        if (this.mistakes.length === 0) void this.#reread();
        return;
      case 'ended':
        this.ended = m.reason ?? '';
        this.connection = 'gone';
    }
  }

  /** Reads the lab's texts again, and once more where they were edited meanwhile. */
  async #reread(): Promise<void> {
    this.#edited = true;
    while (this.#edited && !this.busy('lab')) {
      this.#edited = false;
      await this.translate(this.#language);
    }
  }

  #show(next: Snapshot): void {
    const changed = this.snapshot ? changedBetween(this.snapshot, next) : new Set<string>();
    if (changed.size > 0) this.changed = changed;
    this.snapshot = next;
    for (const seen of this.#waiting.splice(0)) seen();
    const { selected } = this;
    const nodes = next.nodes ?? [];
    if (selected && !nodes.some((n) => n.id === splitLink(selected).node)) this.selected = null;
  }

  async #rest(step: string, left: number[], probes: Probe[]): Promise<void> {
    const spot: Spot = `step:${step}`;
    if (this.busy(spot)) return;
    this.#busy.set(spot, true);
    this.#problems.delete(spot);
    try {
      for (const i of left) {
        await this.runLine(step, i);
        if (this.problem(lineSpot(step, i))) return;
      }
      for (const p of probes) await this.probeOf(step, p);
    } finally {
      this.#busy.delete(spot);
    }
  }

  #mark(step: string, n: number): void {
    for (let i = 0; i < n; i++) this.#lines.add(lineKey(step, i));
  }

  /** The step whose commands and probes are under way. */
  #running(): string | undefined {
    return this.lab?.steps.find((s) => this.busy(`step:${s.id}`))?.id;
  }

  /**
   * Adds results, newest first, and counts them to a step: a probe that failed
   * in one step may well succeed in the next. A probe of ours is told twice, by
   * the answer and by the stream.
   */
  #keep(step: string | undefined, fresh: ProbeResult[]): void {
    const telling = (r: ProbeResult): string => `${keyOf(r.probe)} ${r.at}`;
    const known = new Set(this.results.map(telling));
    const added = fresh.filter((r) => !known.has(telling(r))).reverse();
    if (added.length > 0) this.results = [...added, ...this.results].slice(0, keptResults);
    for (const r of step === undefined ? [] : fresh) {
      const key = `${step} ${keyOf(r.probe)}`;
      if (added.includes(r) || !this.#outcomes.has(key)) this.#outcomes.set(key, r);
    }
  }

  #readLab(session: Session): Promise<Lab> {
    return this.api.lab(session.id, this.#language);
  }

  #connected(now: Connection): void {
    if (this.connection === 'live' && now === 'reconnecting') this.liveUntil = new Date();
    if (now === 'live') [this.liveUntil, this.unreachable] = [null, false];
    this.connection = now;
  }

  async #alive(id: string): Promise<boolean> {
    const visit = this.#visit;
    try {
      const session = await this.api.session(id);
      if (visit === this.#visit) [this.session, this.unreachable] = [session, false];
      return true;
    } catch (e) {
      if (visit === this.#visit)
        this.unreachable = e instanceof RequestError && e.problem.code === 'unreachable';
      return !isGone(e);
    }
  }

  /**
   * Asks the server about the open session. What the answer means (`work`
   * returns it) is done only if the reader is still there.
   */
  async #inSession(spot: Spot, work: (id: string) => Promise<() => void>): Promise<void> {
    const id = this.session?.id;
    const visit = this.#visit;
    if (id === undefined) return;
    await this.#do(spot, async () => {
      const done = await work(id);
      if (visit === this.#visit) done();
    });
  }

  /** Reads texts, and once more where another language was chosen meanwhile. */
  async #inLanguage(read: (language: string) => Promise<void>): Promise<void> {
    for (let language = ''; language !== this.#language;) {
      language = this.#language;
      await read(language);
    }
  }

  async #do(spot: Spot, work: () => Promise<void>): Promise<void> {
    if (this.busy(spot)) return;
    this.#busy.set(spot, true);
    this.#problems.delete(spot);
    try {
      await work();
    } catch (e) {
      if (!(e instanceof RequestError)) throw e;
      this.#problems.set(spot, e.problem);
    } finally {
      this.#busy.delete(spot);
    }
  }
}

/** Where a step's own probe is sent from. */
export const spotOf = (step: string, probe: Probe): Spot => `probe:${step} ${keyOf(probe)}`;

/** Where a step's own command is run from. */
export const lineSpot = (step: string, i: number): Spot => `line:${lineKey(step, i)}`;
const lineKey = (step: string, i: number): string => `${step} ${i}`;

const keyOf = (p: Probe): string => JSON.stringify([p.from, p.kind, p.to]);

function isGone(e: unknown): boolean {
  const status = e instanceof RequestError ? e.problem.status : undefined;
  return status === 401 || status === 403 || status === 404 || status === 410;
}

const key = Symbol('store');
export const provideStore = (store: Store): Store => setContext(key, store);
export const useStore = (): Store => getContext<Store>(key);
