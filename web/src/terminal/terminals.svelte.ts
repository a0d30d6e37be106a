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

/** The terminals of one session, in the order of their tabs. */
export class Terminals {
  tabs = $state.raw<Tab[]>([]);
  active = $state.raw<Tab | null>(null);
  /** Counts the times that one was asked for: it is to be seen then. */
  asked = $state(0);
  screenReader = $state(localStorage.getItem(storedReader) === 'yes');

  constructor(readonly session: string) {}

  get #storedActive(): string {
    return `kabel.terminal.${this.session}`;
  }

  /** Shows those that the session has already, as after a reload. */
  async restore(): Promise<void> {
    const found = await list(this.session);
    if (!Array.isArray(found)) return;
    const known = new Set(this.tabs.map((t) => t.id));
    for (const { id, node } of found) if (!known.has(id)) this.#add(node, id);
    const was = sessionStorage.getItem(this.#storedActive);
    this.active ??= this.tabs.find((t) => t.id === was) ?? this.tabs[0] ?? null;
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
    this.active = tab;
    this.asked++;
    tab.focus();
    this.remember();
  }

  remember(): void {
    if (this.active?.id !== undefined) sessionStorage.setItem(this.#storedActive, this.active.id);
  }

  /** Takes a tab away, and ends its shell if that still runs. */
  close(tab: Tab): void {
    const at = this.tabs.indexOf(tab);
    this.tabs = this.tabs.filter((t) => t !== tab);
    if (this.active === tab) this.active = this.tabs[at] ?? this.tabs.at(-1) ?? null;
    this.active?.focus();
    this.remember();
    if (tab.id !== undefined && !tab.end) void end(this.session, tab.node, tab.id);
  }

  /** A new shell where one has ended. */
  again(tab: Tab): Tab {
    const fresh = new Tab(tab.node, tab.number);
    this.tabs = this.tabs.map((t) => (t === tab ? fresh : t));
    this.show(fresh);
    return fresh;
  }

  readAloud(on: boolean): void {
    this.screenReader = on;
    localStorage.setItem(storedReader, on ? 'yes' : 'no');
  }

  #add(node: NodeId, id?: string): Tab {
    const number = Math.max(0, ...this.tabs.filter((t) => t.node === node).map((t) => t.number)) + 1;
    const tab = new Tab(node, number, id);
    this.tabs = [...this.tabs, tab];
    return tab;
  }
}

const key = Symbol('terminals');
export const provideTerminals = (terminals: Terminals): Terminals => setContext(key, terminals);
export const useTerminals = (): Terminals => getContext<Terminals>(key);
