import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import en from './en.json';
import id from './id.json';
import { render, type Dictionary, type Language } from './index.svelte';
import ko from './ko.json';
import vi from './vi.json';

const all: Record<Language, Dictionary> = { en, id, vi, ko };
const keys = Object.keys(en) as (keyof Dictionary)[];
const forms = (entry: Dictionary[keyof Dictionary]): string[] =>
  typeof entry === 'string' ? [entry] : Object.values(entry);
const parameters = (text: string): string[] =>
  [...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1] ?? '').toSorted();

describe.each(Object.entries(all) as [Language, Dictionary][])('%s', (language, words) => {
  test('has every key, and no other', () => {
    expect(Object.keys(words)).toEqual(keys);
  });

  test('says everything with the parameters and plural forms that it needs', () => {
    const needed = [...new Intl.PluralRules(language).resolvedOptions().pluralCategories].toSorted();
    for (const key of keys) {
      const [mine, english] = [words[key], (en as Dictionary)[key]];
      const wanted = parameters(forms(english).at(-1) ?? '');
      expect(typeof mine, key).toBe(typeof english);
      for (const form of forms(mine)) {
        expect(form.trim(), key).not.toBe('');
        expect(parameters(form), key).toEqual(wanted);
      }
      if (typeof mine !== 'string') expect(Object.keys(mine).toSorted(), key).toEqual(needed);
    }
  });
});

test.each([
  ['en', 1, '1 step'],
  ['en', 2, '2 steps'],
  ['en', 0, '0 steps'],
  ['ko', 1, '1단계'],
] as [Language, number, string][])('%s counts %i', (language, n, wanted) => {
  expect(render(all[language]['home.steps'], { n }, language)).toBe(wanted);
});

test('a parameter that is not given stays visible', () => {
  expect(render('to {place}', {}, 'en')).toBe('to {place}');
});

/** Texts of the page's own files. */
function sources(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((f) => {
    const path = join(dir, f.name);
    if (f.isDirectory()) return sources(path);
    return /\.(svelte|ts)$/.test(f.name) && !f.name.includes('.test.') ? [readFileSync(path, 'utf8')] : [];
  });
}

test('every key is used', () => {
  const text = sources('src').join('\n');
  // Those that are composed begin with one of these: `kind.${…}`.
  const composed = [...text.matchAll(/`([a-z.]+\.)\$\{/g)].map((m) => m[1] ?? '');
  const unused = keys.filter(
    (k) =>
      !text.includes(`'${k}'`) && !composed.some((c) => k.startsWith(c)) && !/^session\..*\.confirm$/.test(k),
  );
  expect(unused).toEqual([]);
});
