// Light or dark: as the system has it, until someone chooses.

const KEY = 'archipelago-theme';
const THEMES = ['system', 'light', 'dark'];
const SHOWN = { system: '◐ System', light: '☀ Light', dark: '☾ Dark' };

export class Theme {
  constructor(button) {
    this.button = button;
    button.addEventListener('click', () => this.next());
    this.use(localStorage.getItem(KEY) ?? 'system');
  }

  next() {
    const next = THEMES[(THEMES.indexOf(this.theme) + 1) % THEMES.length];
    localStorage.setItem(KEY, next);
    this.use(next);
  }

  use(theme) {
    this.theme = THEMES.includes(theme) ? theme : 'system';
    document.documentElement.dataset.theme = this.theme;
    this.button.textContent = SHOWN[this.theme];
    this.button.setAttribute('aria-label', `Theme: ${this.theme}`);
  }
}
