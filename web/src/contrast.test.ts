import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';

// The colour tokens themselves: no tool can judge the contrast of text in an SVG.
const css = readFileSync('src/app.css', 'utf8');
type Tokens = Map<string, string>;
/** The tokens that a rule sets, of one scheme. */
function tokensOf(selector: string, scheme: 'light' | 'dark'): Tokens {
  const [, block = ''] = css.split(`\n${selector} {`);
  const pairs = (block.split('\n}')[0] ?? '').matchAll(
    /--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)/g,
  );
  return new Map([...pairs].map((m) => [m[1] ?? '', m[scheme === 'light' ? 2 : 3] ?? '']));
}
const more = ":root[data-contrast='more']";
const themes: [name: string, tokens: Tokens, least: { text: number; sign: number }][] = [
  ['light', tokensOf(':root', 'light'), { text: 4.5, sign: 3 }],
  ['dark', tokensOf(':root', 'dark'), { text: 4.5, sign: 3 }],
  ['high contrast on white', tokensOf(more, 'light'), { text: 7, sign: 4.5 }],
  ['high contrast on black', tokensOf(more, 'dark'), { text: 7, sign: 4.5 }],
];

/** WCAG 2.2: relative luminance and contrast ratio. */
function luminance(hex: string): number {
  const [r, g, b] = [1, 3, 5].map((i) => {
    const c = parseInt(hex.slice(i, i + 2), 16) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(a: string, b: string): number {
  const [x, y] = [luminance(a), luminance(b)].toSorted((p, q) => q - p) as [number, number];
  return (x + 0.05) / (y + 0.05);
}

/** What `color-mix(in srgb, over part, under)` gives. */
function mixed(over: string, part: number, under: string): string {
  const channel = (hex: string, i: number): number => parseInt(hex.slice(i, i + 2), 16);
  const mix = (i: number): number => Math.round(channel(over, i) * part + channel(under, i) * (1 - part));
  return `#${[1, 3, 5].map((i) => mix(i).toString(16).padStart(2, '0')).join('')}`;
}

const names = [...tokensOf(':root', 'light').keys()];
const protocols = names.filter((name) => name.startsWith('proto-'));
const grounds = ['bg', 'card', 'raised'];
const text: [string, string[]][] = [
  ['fg', [...grounds, 'accent-soft', 'ok-soft', 'bad-soft', 'warn-soft', 'terminal', 'root']],
  ['muted', [...grounds, 'terminal', 'root', 'accent-soft']],
  ['on-switch', ['switch']],
  ['accent', [...grounds, 'accent-soft']],
  ['on-accent', ['accent']],
  ['ok', ['card', 'ok-soft']],
  ['bad', ['card', 'raised', 'bad-soft']],
  ['warn', ['card', 'warn-soft']],
  ['tunnel', ['card']],
  ...protocols.map((p): [string, string[]] => [p, [...grounds, 'accent-soft']]),
];
// Signs and lines that carry meaning need less.
const signs: [string, string[]][] = [
  ['cable', ['bg', 'card', 'root']],
  ['line-strong', ['card', 'bg']],
  ['ok', ['bg', 'terminal']],
  ['bad', ['bg']],
  ['warn', ['bg', 'terminal']],
  ['accent', ['terminal']],
];
// What is only seen behind something, or carries no meaning: a line that divides.
const quiet = [
  ...grounds,
  ...['accent-soft', 'ok-soft', 'bad-soft', 'warn-soft', 'terminal', 'line'],
  ...['pill-line', 'bar-line', 'root', 'root-line', 'switch', 'dot'],
];

test('every colour is held against the grounds that it stands on', () => {
  const held = new Set([...text, ...signs].map(([over]) => over));
  expect(names.filter((name) => !held.has(name) && !quiet.includes(name))).toEqual([]);
});

describe.each(themes)('%s', (name, tokens, least) => {
  const colour = (token: string): string => tokens.get(token) ?? '';
  const faults = (pairs: [string, string[]][], ratio: number): string[] =>
    pairs.flatMap(([over, unders]) =>
      unders
        .map((under) => ({ under, is: contrast(colour(over), colour(under)) }))
        .filter(({ is }) => !(is >= ratio))
        .map(({ under, is }) => `${over} on ${under}: ${is.toFixed(2)} < ${ratio}`),
    );

  test('has every colour', () => expect([...tokens.keys()]).toEqual(names));
  test('text can be read', () => expect(faults(text, least.text)).toEqual([]));
  test('signs can be seen', () => expect(faults(signs, least.sign)).toEqual([]));

  test('a protocol can be read on its own tint, and what is written on it', () => {
    expect(protocols).toHaveLength(8);
    const tinted = protocols.flatMap((p) => [
      ...['card', 'accent-soft']
        .filter((under) => contrast(colour(p), mixed(colour(p), 0.1, colour(under))) < least.text)
        .map((under) => `${p} on its tint over ${under}`),
      ...(contrast(colour('bg'), colour(p)) < least.text ? [`bg on ${p}`] : []),
    ]);
    expect(tinted).toEqual([]);
  });

  if (name.startsWith('high'))
    test('every line is as strong as text', () =>
      expect(
        faults(
          ['line', 'pill-line', 'bar-line', 'root-line'].map((l) => [l, grounds]),
          7,
        ),
      ).toEqual([]));
});

// A container's ground has a hue of its own; the rest of it stands in NodeMark.
const mark = readFileSync('src/topology/NodeMark.svelte', 'utf8');
const tints = /fill: light-dark\(hsl\(var\(--hue\) (\d+)% (\d+)%\), hsl\(var\(--hue\) (\d+)% (\d+)%\)\)/
  .exec(mark)
  ?.slice(1)
  .map(Number) as number[];

test.each([
  ['light', 0],
  ['dark', 2],
] as const)('what is written in a container can be read on any hue: %s', (scheme, at) => {
  const tokens = tokensOf(':root', scheme);
  const faults = Array.from({ length: 360 }, (_, hue) =>
    hsl(hue, (tints[at] ?? NaN) / 100, (tints[at + 1] ?? NaN) / 100),
  ).filter((ground) => ['fg', 'muted'].some((t) => !(contrast(tokens.get(t) ?? '', ground) >= 4.5)));
  expect(faults).toEqual([]);
});

function hsl(hue: number, saturation: number, lightness: number): string {
  const channel = (n: number): string => {
    const k = (n + hue / 30) % 12;
    const level =
      lightness - saturation * Math.min(lightness, 1 - lightness) * Math.max(-1, Math.min(k - 3, 9 - k, 1));
    return Math.round(level * 255)
      .toString(16)
      .padStart(2, '0');
  };
  return `#${channel(0)}${channel(8)}${channel(4)}`;
}

test('the colours of the system stand in for every one of ours', () => {
  const [, forced = ''] = css.split('(forced-colors: active)');
  const named = [...forced.matchAll(/--([a-z-]+): (\w+);/g)].map((m) => m[1]);
  expect(named.slice(0, names.length)).toEqual(names);
});
