import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

// The colour tokens themselves: no tool can judge the contrast of text in an SVG.
const css = readFileSync('src/app.css', 'utf8');
const tokens = new Map(
  [...css.matchAll(/--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)/g)].map((m) => [
    m[1] ?? '',
    { light: m[2] ?? '', dark: m[3] ?? '' },
  ]),
);

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

const protocols = [...tokens.keys()].filter((name) => name.startsWith('proto-'));
const grounds = ['bg', 'card', 'raised'];
const text: [string, string[]][] = [
  ['fg', [...grounds, 'accent-soft', 'ok-soft', 'bad-soft', 'warn-soft']],
  ['muted', grounds],
  ['accent', [...grounds, 'accent-soft']],
  ['on-accent', ['accent']],
  ['ok', ['card', 'ok-soft']],
  ['bad', ['card', 'raised', 'bad-soft']],
  ['warn', ['card', 'warn-soft']],
  ['tunnel', ['card']],
  ...protocols.map((p): [string, string[]] => [p, [...grounds, 'accent-soft']]),
];
// Signs and lines that carry meaning: 3 is enough.
const signs: [string, string[]][] = [
  ['cable', ['bg', 'card']],
  ['line-strong', ['card', 'bg']],
  ['ok', ['bg']],
  ['bad', ['bg']],
  ['warn', ['bg']],
];

test.each(['light', 'dark'] as const)('%s has contrast enough', (theme) => {
  const faults: string[] = [];
  const check = (pairs: [string, string[]][], least: number): void => {
    for (const [over, unders] of pairs) {
      for (const under of unders) {
        const [a, b] = [tokens.get(over)?.[theme] ?? '', tokens.get(under)?.[theme] ?? ''];
        const ratio = contrast(a, b);
        if (!(ratio >= least)) faults.push(`${over} ${a} on ${under} ${b}: ${ratio.toFixed(2)} < ${least}`);
      }
    }
  };
  check(text, 4.5);
  check(signs, 3);
  expect(faults).toEqual([]);
});

test.each(['light', 'dark'] as const)(
  'a protocol can be read on its own tint, and what is written on it: %s',
  (theme) => {
    const colour = (name: string): string => tokens.get(name)?.[theme] ?? '';
    expect(protocols).toHaveLength(8);
    const faults = protocols.flatMap((p) => [
      ...['card', 'accent-soft']
        .filter((under) => contrast(colour(p), mixed(colour(p), 0.1, colour(under))) < 4.5)
        .map((under) => `${p} on its tint over ${under}`),
      ...(contrast(colour('bg'), colour(p)) < 4.5 ? [`bg on ${p}`] : []),
    ]);
    expect(faults).toEqual([]);
  },
);
