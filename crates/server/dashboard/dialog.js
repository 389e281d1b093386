// A question that is answered before anything happens.

import { el } from './dom.js';

/** Resolves to whether it is to be done. */
export function confirmed({ title, text, action, isDangerous = false }) {
  return new Promise((resolve) => {
    const answer = (is) => () => {
      dialog.close();
      resolve(is);
    };
    const dialog = el('dialog', { 'aria-labelledby': 'dialog-title', onclose: () => dialog.remove(), oncancel: () => resolve(false) },
      el('h2', { id: 'dialog-title' }, title),
      el('p', {}, text),
      el('div', { class: 'actions' },
        el('button', { type: 'button', onclick: answer(false), autofocus: true }, 'Cancel'),
        el('button', { type: 'button', class: isDangerous ? 'danger' : 'primary', id: 'dialog-confirm', onclick: answer(true) }, action)));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Shows something until it is closed. */
export function shown(title, content) {
  const dialog = el('dialog', { 'aria-labelledby': 'dialog-title', onclose: () => dialog.remove() },
    el('h2', { id: 'dialog-title' }, title),
    content,
    el('div', { class: 'actions' }, el('button', { type: 'button', autofocus: true, onclick: () => dialog.close() }, 'Close')));
  document.body.append(dialog);
  dialog.showModal();
}
