// What needs xterm.js: loaded when the first terminal is opened.
import { FitAddon } from '@xterm/addon-fit';
import { SearchAddon } from '@xterm/addon-search';
import { Unicode11Addon } from '@xterm/addon-unicode11';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { Terminal } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import { copy } from '../shell/copy';
import { dark, light, plain } from './colours';
import type { Paper } from './line';
import type { Size } from './protocol';
import type { Font } from './terminals.svelte';

export interface ScreenEvents {
  type(data: string): void;
  send(bytes: Uint8Array): void;
  /** The keyboard is wanted elsewhere. */
  leave(): void;
  /** Something is looked for in what was shown. */
  find(): void;
  /** The views are to be divided or changed. */
  arrange(how: Arrangement): void;
}

/** What may be done to the views by keys. */
export type Arrangement = 'columns' | 'rows' | 'big' | 'next';

// With Ctrl+Shift: no shell can tell these from the same without Shift, and no
// browser keeps them for itself.
const arrangements: Record<string, Arrangement> = { e: 'columns', o: 'rows', x: 'big', l: 'next' };

/** Which find: the last one, or the next one from that which is selected. */
export type Find = 'last' | 'above' | 'below';

const korean = '"Noto Sans Mono CJK KR", "Noto Sans KR Variable"';
const own = `"JetBrains Mono Variable", ${korean}, ui-monospace, "DejaVu Sans Mono", monospace`;
const usual = { fontFamily: own, fontWeight: '400', letterSpacing: 0, lineHeight: 1.25 } as const;
/** What each choice of letters means; `larger` is how much than the size that was chosen. */
const faces = {
  own: { ...usual, larger: 1 },
  system: {
    ...usual,
    fontFamily: `ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", ${korean}, monospace`,
    larger: 1,
  },
  // No other file: in ours, 0 and O, 1, l and I differ; heavier and wider they do so from afar.
  legible: { ...usual, fontWeight: '500', letterSpacing: 1, lineHeight: 1.45, larger: 1.3 },
} as const satisfies Record<Font, object>;
const usualSize = 13;

// Never http: nothing that a program shows should lead where others can read along.
const link = /https:\/\/[^\s"'!*(){}|\\^<>`]*[^\s"':,.!?{}|\\^~[\]`()<>]/;
const follow = (_: unknown, to: string): void => {
  if (to.startsWith('https://')) window.open(to, '_blank', 'noopener,noreferrer');
};

export interface Dress {
  dark: boolean;
  contrast: boolean;
  /** Of the letters, in points. */
  size: number;
  font: Font;
  screenReader: boolean;
  label: string;
  tooMuch: string;
}

/** An xterm.js terminal, dressed as the page is. */
export class Screen implements Paper {
  readonly #terminal: Terminal;
  readonly #fit = new FitAddon();
  readonly #search = new SearchAddon();
  readonly #undress: () => void;

  static async open(host: HTMLElement, events: ScreenEvents): Promise<Screen> {
    // It measures its letters once.
    await Promise.all(['400', '700'].map((w) => document.fonts.load(`${w} ${usualSize}px ${own}`)));
    return new Screen(host, events);
  }

  private constructor(host: HTMLElement, events: ScreenEvents) {
    const terminal = new Terminal({
      allowProposedApi: true, // for unicode11
      cursorBlink: !matchMedia('(prefers-reduced-motion: reduce)').matches,
      cursorInactiveStyle: 'outline',
      drawBoldTextInBrightColors: false,
      ...usual,
      fontSize: usualSize,
      fontWeightBold: '700',
      linkHandler: { activate: follow },
      macOptionIsMeta: true,
      minimumContrastRatio: 4.5,
      scrollback: 5000,
    });
    this.#terminal = terminal;
    terminal.loadAddon(this.#fit);
    terminal.loadAddon(this.#search);
    terminal.loadAddon(new Unicode11Addon());
    terminal.loadAddon(new WebLinksAddon(follow, { urlRegex: link }));
    terminal.unicode.activeVersion = '11';
    this.#undress = adoptingStyles(() => terminal.open(host));
    colourWithoutAttributes(terminal);
    terminal.onData((data) => events.type(data));
    terminal.onBinary((data) => events.send(Uint8Array.from(data, (c) => c.charCodeAt(0))));
    terminal.attachCustomKeyEventHandler((e) => !this.#isOurs(e, events));
  }

  write(bytes: Uint8Array, drawn: () => void): void {
    this.#terminal.write(bytes, drawn);
  }

  /** Types without running: what a program took for a paste waits for Enter. */
  paste(text: string): void {
    this.#terminal.paste(text);
  }

  focus(): void {
    this.#terminal.focus();
  }

  /** Selects a find; tells whether there is one. */
  find(text: string, which: Find): boolean {
    if (which === 'last') this.#terminal.clearSelection();
    return which === 'below' ? this.#search.findNext(text) : this.#search.findPrevious(text);
  }

  /** The size that fills the pane; null while it is hidden. */
  fit(): Size | null {
    const size = this.#fit.proposeDimensions();
    if (!size || !(size.rows > 0) || !(size.cols > 0) || !this.#terminal.element?.offsetParent) return null;
    const fitting = { rows: Math.min(size.rows, 1000), cols: Math.min(size.cols, 1000) };
    this.resize(fitting);
    return fitting;
  }

  resize({ rows, cols }: Size): void {
    if (rows !== this.#terminal.rows || cols !== this.#terminal.cols) this.#terminal.resize(cols, rows);
  }

  dress(how: Dress): void {
    const colours = how.dark ? dark : light;
    this.#terminal.options.theme = how.contrast ? plain(colours) : colours;
    this.#terminal.options.minimumContrastRatio = how.contrast ? 7 : 4.5;
    const { larger, ...face } = faces[how.font];
    Object.assign(this.#terminal.options, face, { fontSize: Math.round(how.size * larger) });
    this.#terminal.options.screenReaderMode = how.screenReader;
    Terminal.strings.promptLabel = how.label;
    Terminal.strings.tooMuchOutput = how.tooMuch;
    this.#terminal.textarea?.setAttribute('aria-label', how.label);
  }

  dispose(): void {
    this.#terminal.dispose();
    this.#undress();
  }

  /** Keys that are not for the shell. */
  #isOurs(e: KeyboardEvent, events: ScreenEvents): boolean {
    const plain = !e.ctrlKey && !e.altKey && !e.metaKey && !e.shiftKey;
    if (e.key === 'F6' && plain) {
      e.preventDefault();
      if (e.type === 'keydown') events.leave();
      return true;
    }
    if (e.key === 'F6' && e.shiftKey) return true; // the page's
    if (!e.ctrlKey || e.altKey || e.metaKey) return false;
    const key = e.key.toLowerCase();
    // With the paste event, which the browser makes, comes what is pasted.
    if (key === 'v' && e.shiftKey) return true;
    if (key === 'f' && e.shiftKey) {
      e.preventDefault();
      if (e.type === 'keydown') events.find();
      return true;
    }
    const arrangement = e.shiftKey ? arrangements[key] : undefined;
    if (arrangement) {
      e.preventDefault();
      if (e.type === 'keydown' && !e.repeat) events.arrange(arrangement);
      return true;
    }
    if (key !== 'c' || !(e.shiftKey || this.#terminal.hasSelection())) return false;
    e.preventDefault();
    if (e.type === 'keydown') void this.#copy();
    return true;
  }

  async #copy(): Promise<void> {
    if (!this.#terminal.hasSelection()) return;
    await copy(this.#terminal.getSelection());
    this.#terminal.clearSelection();
    this.#terminal.focus();
  }
}

/**
 * The page's policy refuses <style> elements, which xterm.js makes while it is
 * opened. What it writes into them goes into sheets that the document adopts.
 * Gives what takes them away again.
 */
function adoptingStyles(open: () => void): () => void {
  const sheets: CSSStyleSheet[] = [];
  const standIn = (): HTMLElement => {
    const sheet = new CSSStyleSheet();
    sheets.push(sheet);
    document.adoptedStyleSheets.push(sheet);
    const element = document.createElement('template');
    Object.defineProperty(element, 'textContent', { set: (css: string) => sheet.replaceSync(css) });
    return element;
  };
  const make = document.createElement.bind(document);
  document.createElement = ((name: string, options?: ElementCreationOptions) =>
    name === 'style' ? standIn() : make(name, options)) as typeof document.createElement;
  try {
    open();
  } finally {
    // The document's own property only; the prototype's is there again.
    delete (document as { createElement?: unknown }).createElement;
  }
  return () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((s) => !sheets.includes(s));
  };
}

interface RowFactory {
  _addStyle(element: HTMLElement, style: string): void;
}
interface Inside {
  _core: { _renderService: { _renderer: { value: { _rowFactory: RowFactory } } } };
}

/**
 * Colours of one cell would be style attributes, which the policy refuses, too.
 * xterm.js has no option for that: this reaches into the pinned version.
 */
function colourWithoutAttributes(terminal: Terminal): void {
  const inside = terminal as unknown as Inside;
  inside._core._renderService._renderer.value._rowFactory._addStyle = (element, style) => {
    element.style.cssText += `${style};`;
  };
}
