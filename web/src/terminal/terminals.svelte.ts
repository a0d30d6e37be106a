import { getContext, setContext } from 'svelte';
import type { NodeId } from '../wire';
import type { End, LineState } from './line';
import { end, list } from './protocol';

/** What is typed into a terminal from elsewhere on the page. */
interface Typist {
  focus(): void;
  paste(text: string): void;
}

/** One terminal of the page. Its bytes go from its line to its screen and nowhere else. */
export class Tab {
  readonly key: string;
  readonly node: NodeId;
  /** How many of its node were opened before it and itself. */
  readonly number: number;
  id = $state<string>();
  state = $state<LineState>('connecting');
  end = $state.raw<End | null>(null);
  finding = $state(false);
  #screen: Typist | null = null;
  #prompted = false;
  #wanted = false; // the keyboard, as soon as there is a screen
  #waiting: string[] = []; // texts for a shell that is not yet there

  constructor(node: NodeId, number: number, id?: string) {
    this.key = crypto.getRandomValues(new Uint32Array(2)).join('-');
    this.node = node;
    this.number = number;
    this.id = id;
  }

  focus(): void {
    if (this.#screen) this.#screen.focus();
    else this.#wanted = true;
  }

  /** Types text, once the shell has shown that it is there. */
  paste(text: string): void {
    if (this.#screen && this.#prompted) this.#screen.paste(text);
    else this.#waiting.push(text);
  }

  shown(screen: Typist | null): void {
    this.#screen = screen;
    this.#prompted = false;
    if (this.#wanted) screen?.focus();
    if (screen) this.#wanted = false;
  }

  /** The shell has shown something. */
  prompted(): void {
    if (this.#prompted || !this.#screen) return;
    this.#prompted = true;
    for (const text of this.#waiting.splice(0)) this.#screen.paste(text);
  }
}

const storedReader = 'kabel.screenReader';
const storedSize = 'kabel.terminalSize';
/** How large letters may be, in points. */
export const sizes = { least: 9, usual: 13, most: 26 };

const storedFont = 'kabel.terminalFont';
/** Letters of ours, those of the reader's system, and large ones that are easy to tell apart. */
export const fonts = ['own', 'system', 'legible'] as const;
export type Font = (typeof fonts)[number];

/** How several terminals share the pane: beside each other, above each other, or two by two. */
export type Flow = 'columns' | 'rows' | 'grid';
/** How many may be seen at a time. */
export const mostSeen = 4;

/** What is in sight in a session's pane, by the ids of its terminals. */
interface Layout {
  session: string;
  flow: Flow;
  seen: string[];
  active: string | null;
}
const storedLayouts = 'kabel.terminals';
const mostLayouts = 10;

/** The layouts of the last sessions, the latest first. */
function layouts(): Layout[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(storedLayouts) ?? '[]');
    return Array.isArray(kept) ? (kept as Layout[]) : [];
  } catch {
    return [];
  }
}

/** The terminals of one session, in the order of their tabs. */
export class Terminals {
  tabs = $state.raw<Tab[]>([]);
  /** Those in sight, in their order; the active one is among them. */
  seen = $state.raw<Tab[]>([]);
  active = $state.raw<Tab | null>(null);
  flow = $state<Flow>('columns');
  /** Counts the times that one was asked for: it is to be seen then. */
  asked = $state(0);
  screenReader = $state(localStorage.getItem(storedReader) === 'yes');

  /** How large the letters are. */
  size = $state(within(Number(localStorage.getItem(storedSize)) || sizes.usual));

  font = $state<Font>(fonts.find((f) => f === localStorage.getItem(storedFont)) ?? 'own');

  constructor(readonly session: string) {}

  /** Shows those that the session has already, as after a reload. */
  async restore(): Promise<void> {
    const found = await list(this.session);
    if (!Array.isArray(found)) return;
    const known = new Set(this.tabs.map((t) => t.id));
    for (const { id, node } of found) if (!known.has(id)) this.#add(node, id);
    if (this.active) return;
    const was = layouts().find((l) => l.session === this.session);
    const byId = (id: string | null): Tab | undefined => this.tabs.find((t) => t.id === id);
    this.seen = (was?.seen ?? []).map(byId).filter((t) => t !== undefined);
    this.flow = was?.flow ?? 'columns';
    const active = byId(was?.active ?? null) ?? this.seen[0] ?? this.tabs[0];
    if (active) this.#front(active);
  }

  open(node: NodeId): Tab {
    const tab = this.#add(node);
    this.show(tab);
    return tab;
  }

  /** The node's terminal, the one in front if it is of this node. */
  at(node: NodeId): Tab {
    const here = this.tabs.filter((t) => t.node === node);
    const running = here.filter((t) => !t.end);
    const tab = running.find((t) => t === this.active) ?? running.at(-1);
    const ended = here.at(-1);
    if (!tab) return ended ? this.again(ended) : this.open(node);
    this.show(tab);
    return tab;
  }

  show(tab: Tab): void {
    this.#front(tab);
    this.asked++;
    tab.focus();
    this.remember();
  }

  /** Makes it the active one, where it is or in the place of the one before, and leaves the keyboard. */
  turnTo(tab: Tab): void {
    if (this.active === tab) return;
    this.#front(tab);
    this.remember();
  }

  /** Opens one more on the active one's node, beside it or below it. */
  split(flow: 'columns' | 'rows'): void {
    const { active, seen } = this;
    if (!active || seen.length >= mostSeen) return;
    const tab = this.#add(active.node);
    this.flow = seen.length > 1 && this.flow !== flow ? 'grid' : flow;
    this.seen = seen.toSpliced(seen.indexOf(active) + 1, 0, tab);
    this.show(tab);
  }

  /** Takes one out of sight; its shell and its tab stay. */
  hide(tab: Tab): void {
    const at = this.seen.indexOf(tab);
    if (at < 0 || this.seen.length < 2) return;
    this.seen = this.seen.filter((t) => t !== tab);
    if (this.active === tab) this.active = this.seen[at] ?? this.seen.at(-1) ?? null;
    this.active?.focus();
    this.remember();
  }

  /** Gives the keyboard to the next one in sight. */
  next(): void {
    const { active, seen } = this;
    const tab = active && seen[(seen.indexOf(active) + 1) % seen.length];
    if (tab) this.show(tab);
  }

  remember(): void {
    const layout: Layout = {
      session: this.session,
      flow: this.flow,
      seen: this.seen.map((t) => t.id).filter((id) => id !== undefined),
      active: this.active?.id ?? null,
    };
    const kept = [layout, ...layouts().filter((l) => l.session !== this.session)].slice(0, mostLayouts);
    localStorage.setItem(storedLayouts, JSON.stringify(kept));
  }

  /** Takes a tab away, and ends its shell if that still runs. */
  close(tab: Tab): void {
    const [at, place] = [this.tabs.indexOf(tab), this.seen.indexOf(tab)];
    this.tabs = this.tabs.filter((t) => t !== tab);
    this.seen = this.seen.filter((t) => t !== tab);
    if (this.active === tab) {
      const beside = this.seen[place] ?? this.seen.at(-1);
      const next = beside ?? this.tabs[at] ?? this.tabs.at(-1) ?? null;
      if (next) this.#front(next);
      else this.active = null;
    }
    this.active?.focus();
    this.remember();
    if (tab.id !== undefined && !tab.end) void end(this.session, tab.node, tab.id);
  }

  /** A new shell where one has ended. */
  again(tab: Tab): Tab {
    const fresh = new Tab(tab.node, tab.number);
    const instead = (tabs: Tab[]): Tab[] => tabs.map((t) => (t === tab ? fresh : t));
    [this.tabs, this.seen] = [instead(this.tabs), instead(this.seen)];
    if (this.active === tab) this.active = fresh;
    this.show(fresh);
    return fresh;
  }

  resize(by: number): void {
    this.size = within(this.size + by);
    localStorage.setItem(storedSize, String(this.size));
  }

  write(font: Font): void {
    this.font = font;
    localStorage.setItem(storedFont, font);
  }

  readAloud(on: boolean): void {
    this.screenReader = on;
    localStorage.setItem(storedReader, on ? 'yes' : 'no');
  }

  #front(tab: Tab): void {
    if (!this.seen.includes(tab)) {
      const place = this.active ? this.seen.indexOf(this.active) : -1;
      this.seen = place < 0 ? [...this.seen, tab].slice(-mostSeen) : this.seen.with(place, tab);
    }
    this.active = tab;
  }

  #add(node: NodeId, id?: string): Tab {
    const number = Math.max(0, ...this.tabs.filter((t) => t.node === node).map((t) => t.number)) + 1;
    const tab = new Tab(node, number, id);
    this.tabs = [...this.tabs, tab];
    return tab;
  }
}

const within = (size: number): number => Math.min(sizes.most, Math.max(sizes.least, size));

const key = Symbol('terminals');
export const provideTerminals = (terminals: Terminals): Terminals => setContext(key, terminals);
export const useTerminals = (): Terminals => getContext<Terminals>(key);
