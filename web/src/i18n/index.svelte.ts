import en from './en.json';

export const languages = { en: 'English', id: 'Bahasa Indonesia', vi: 'Tiếng Việt', ko: '한국어' } as const;
export type Language = keyof typeof languages;
export type Key = keyof typeof en;
type Plural = Partial<Record<Intl.LDMLPluralRule, string>>;
export type Dictionary = Record<Key, string | Plural>;
export type Params = Record<string, string | number>;

const loaders: Record<Language, () => Promise<{ default: Dictionary }>> = {
  en: async () => ({ default: en }),
  id: () => import('./id.json'),
  vi: () => import('./vi.json'),
  ko: async () => {
    const [words] = await Promise.all([
      import('./ko.json'),
      import('@fontsource-variable/noto-sans-kr/index.css'),
    ]);
    return words;
  },
};

const stored = 'kabel.language';

class Speech {
  language = $state<Language>('en');
  #dictionary = $state.raw<Dictionary>(en);

  /** Begins with what the reader chose before, else with the browser's first language that we have. */
  async begin(): Promise<void> {
    const wanted = [localStorage.getItem(stored) ?? '', ...navigator.languages].map((l) => l.slice(0, 2));
    await this.speak(wanted.find(isLanguage) ?? 'en');
  }

  async speak(language: Language): Promise<void> {
    this.#dictionary = (await loaders[language]()).default;
    this.language = language;
    document.documentElement.lang = language;
  }

  async choose(language: Language): Promise<void> {
    localStorage.setItem(stored, language);
    await this.speak(language);
  }

  say(key: Key, params: Params = {}): string {
    return render(this.#dictionary[key], params, this.language);
  }
}

export const isLanguage = (l: string): l is Language => Object.hasOwn(languages, l);

/** Chooses the plural form by `n` and fills in the parameters. */
export function render(entry: string | Plural, params: Params, language: Language): string {
  const template = typeof entry === 'string' ? entry : plural(entry, Number(params.n), language);
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = params[name];
    if (value === undefined) return whole;
    return typeof value === 'number' ? value.toLocaleString(language) : value;
  });
}

function plural(entry: Plural, n: number, language: Language): string {
  return entry[new Intl.PluralRules(language).select(n)] ?? entry.other ?? '';
}

export const speech = new Speech();
export const t = (key: Key, params?: Params): string => speech.say(key, params);

const known = (key: string): key is Key => Object.hasOwn(en, key);

/** The text of a key that is composed of what the server sent; `otherwise` where we have none. */
export function tOr(key: string, otherwise: string, params?: Params): string {
  return known(key) ? t(key, params) : otherwise;
}
