export const themes = ['system', 'light', 'dark', 'contrast'] as const;
export type Theme = (typeof themes)[number];

const stored = 'kabel.theme';
const asks = (feature: string): MediaQueryList => matchMedia(`(${feature})`);

/** How the page looks, by what the reader chose here or wishes of every page. */
class Look {
  theme = $state<Theme>('system');
  #systemDark = $state(false);
  #systemContrast = $state(false);

  readonly dark = $derived(this.theme === 'dark' || (this.theme !== 'light' && this.#systemDark));
  readonly contrast = $derived(
    this.theme === 'contrast' || (this.theme === 'system' && this.#systemContrast),
  );

  begin(): void {
    const [dark, contrast] = [asks('prefers-color-scheme: dark'), asks('prefers-contrast: more')];
    const read = (): void => {
      [this.#systemDark, this.#systemContrast] = [dark.matches, contrast.matches];
      this.#dress();
    };
    for (const one of [dark, contrast]) one.addEventListener('change', read);
    const was = localStorage.getItem(stored);
    this.theme = themes.find((t) => t === was) ?? 'system';
    read();
  }

  choose(theme: Theme): void {
    this.theme = theme;
    localStorage.setItem(stored, theme);
    this.#dress();
  }

  /** Tells the stylesheet; high contrast is black or white as the system is. */
  #dress(): void {
    const { dataset } = document.documentElement;
    if (this.theme === 'light' || this.theme === 'dark') dataset.theme = this.theme;
    else delete dataset.theme;
    if (this.contrast) dataset.contrast = 'more';
    else delete dataset.contrast;
  }
}

export const look = new Look();
