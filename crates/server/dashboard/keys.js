// Shortcuts: one key each, as long as nobody types.

import { el } from './dom.js';
import { shown } from './dialog.js';

export class Keys {
  #global = [];
  #ofView = [];

  constructor() {
    document.addEventListener('keydown', (event) => this.#press(event));
  }

  /** Those that always hold: `[key, what it does, function]`. */
  always(shortcuts) {
    this.#global = shortcuts;
  }

  /** Those of the view that is shown. */
  here(shortcuts) {
    this.#ofView = shortcuts;
  }

  help() {
    if (document.querySelector('dialog[open]')) return;
    const row = ([key, what]) => el('tr', {}, el('td', {}, el('kbd', {}, key)), el('td', {}, what));
    shown('Keyboard shortcuts', el('table', { class: 'shortcuts' }, [...this.#global, ...this.#ofView].map(row)));
  }

  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
    const typing = event.target.closest?.('input, textarea, select');
    if (typing) {
      if (event.key === 'Escape') typing.blur();
      return;
    }
    const found = [...this.#ofView, ...this.#global].find(([key]) => key === event.key);
    if (!found) return;
    event.preventDefault();
    found[2]();
  }
}
