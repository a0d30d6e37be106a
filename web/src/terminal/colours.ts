import type { ITheme } from '@xterm/xterm';

const shared = (fg: string, accent: string): ITheme => ({
  foreground: fg,
  cursor: accent,
  selectionBackground: `${accent}66`,
  selectionInactiveBackground: `${accent}4d`,
  scrollbarSliderBackground: `${fg}26`,
  scrollbarSliderHoverBackground: `${fg}40`,
  scrollbarSliderActiveBackground: `${fg}59`,
  overviewRulerBorder: '#00000000',
});

// The grounds are the page's --terminal.
export const dark: ITheme = {
  ...shared('#dfe5ec', '#6aa9ff'),
  background: '#0d1116',
  cursorAccent: '#0d1116',
  black: '#3a4453',
  red: '#ff8080',
  green: '#41cf8d',
  yellow: '#f0b45c',
  blue: '#6aa9ff',
  magenta: '#c39bff',
  cyan: '#56c8d8',
  white: '#dfe5ec',
  brightBlack: '#8592a3',
  brightRed: '#ffa3a3',
  brightGreen: '#7be3b1',
  brightYellow: '#ffd08a',
  brightBlue: '#9cc6ff',
  brightMagenta: '#d8bfff',
  brightCyan: '#8fe0eb',
  brightWhite: '#ffffff',
};

export const light: ITheme = {
  ...shared('#161a20', '#0b5cd5'),
  background: '#fbfcfe',
  cursorAccent: '#ffffff',
  black: '#161a20',
  red: '#bb2127',
  green: '#0c7a3e',
  yellow: '#8a5300',
  blue: '#0b5cd5',
  magenta: '#7435e0',
  cyan: '#0b6b7b',
  white: '#6a7583',
  brightBlack: '#545f6e',
  brightRed: '#a3151b',
  brightGreen: '#086532',
  brightYellow: '#6f4200',
  brightBlue: '#0848ab',
  brightMagenta: '#5b23bb',
  brightCyan: '#075562',
  brightWhite: '#161a20',
};

/** In high contrast the ground is black or white; the rest is held against it by the least ratio. */
export function plain(colours: ITheme): ITheme {
  const [ink, paper] = colours === dark ? ['#ffffff', '#000000'] : ['#000000', '#ffffff'];
  return { ...colours, ...shared(ink, colours.cursor ?? ink), background: paper, cursorAccent: paper };
}
