export const themes = ['system', 'light', 'dark'] as const;
export type Theme = (typeof themes)[number];

const stored = 'kabel.theme';

class Look {
  theme = $state<Theme>('system');

  begin(): void {
    const was = localStorage.getItem(stored);
    this.choose(themes.find((t) => t === was) ?? 'system');
  }

  choose(theme: Theme): void {
    this.theme = theme;
    localStorage.setItem(stored, theme);
    if (theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }
}

export const look = new Look();
