// What changes, as it changes.

import { namespacePath } from './api.js';
import { el, say } from './dom.js';
import { line, parse } from './exact.js';

/** How many rows are shown; of more, the newest. */
const ROWS_MAX = 500;
/** How much of a value is shown, in characters. */
const VALUE_CHARACTERS_MAX = 400;
const RETRY_MS = 1_000;

export class Tail {
  #context;
  #prefix = el('input', { id: 'tail-prefix', type: 'search', placeholder: 'id begins with', 'aria-label': 'Prefix of the ids', spellcheck: 'false', onchange: () => this.#restart() });
  #pause = el('button', { type: 'button', id: 'tail-pause', 'aria-pressed': 'false', onclick: () => this.#toggle() }, 'Pause');
  #clear = el('button', { type: 'button', class: 'quiet', onclick: () => this.#rows.replaceChildren() }, 'Clear');
  #state = el('span', { class: 'muted', role: 'status' });
  #rows = el('tbody', { id: 'tail-rows' });
  #stream = null;
  #lastId = null;
  #isPaused = false;
  #seen = 0;

  constructor(context) {
    this.#context = context;
    const head = ['Time here', 'Entity', 'What', 'Value'].map((name) => el('th', { scope: 'col' }, name));
    this.element = el('section', { class: 'panel tail', 'aria-label': 'Live tail' },
      el('div', { class: 'tools' }, this.#prefix, this.#pause, this.#clear, this.#state),
      el('div', { class: 'scroll' }, el('table', { class: 'rows' }, el('thead', {}, el('tr', {}, head)), this.#rows)));
  }

  keys() {
    return [['p', 'Pause, or go on', () => this.#toggle()], ['/', 'Filter by prefix', () => this.#prefix.focus()]];
  }

  enter() {
    this.#restart();
  }

  leave() {
    this.#stop();
    this.#rows.replaceChildren();
    this.#seen = 0;
  }

  update() {}

  #restart() {
    this.#stop();
    this.#lastId = null;
    if (!this.#isPaused) this.#follow();
  }

  /** While it is paused nothing is read; afterwards it goes on where it was, and misses nothing. */
  #toggle() {
    this.#isPaused = !this.#isPaused;
    this.#pause.setAttribute('aria-pressed', String(this.#isPaused));
    say(this.#pause, this.#isPaused ? 'Go on' : 'Pause');
    if (this.#isPaused) {
      this.#stop();
      say(this.#state, 'Paused');
    } else this.#follow();
  }

  #stop() {
    this.#stream?.abort();
    this.#stream = null;
  }

  async #follow() {
    const stream = new AbortController();
    this.#stream = stream;
    const query = new URLSearchParams({ prefix: this.#prefix.value });
    const path = `${namespacePath(this.#context.namespace)}/changes?${query}`;
    while (!stream.signal.aborted) {
      try {
        say(this.#state, 'Connecting…');
        for await (const event of this.#context.api.events(path, this.#lastId, stream.signal)) {
          if (stream.signal.aborted) return;
          this.#take(event);
        }
        say(this.#state, 'The stream ended, and is opened again…');
      } catch (problem) {
        if (stream.signal.aborted) return;
        say(this.#state, `${problem.message}. It is tried again…`);
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  #take(event) {
    this.#lastId = event.id || this.#lastId;
    if (event.name === 'reset') this.#rows.replaceChildren();
    if (event.name === 'change') {
      this.#seen += 1;
      this.#rows.prepend(this.#row(parse(event.data)));
      while (this.#rows.children.length > ROWS_MAX) this.#rows.lastChild.remove();
    }
    say(this.#state, this.#seen === 0 ? 'Following. Nothing changed yet.' : `Following. ${this.#seen} changes.`);
  }

  #row({ id, value, is_removed, is_conflicted }) {
    const text = line(value);
    const time = new Date().toLocaleTimeString('en-GB', { hour12: false });
    const what = is_removed ? 'removed' : is_conflicted ? 'in conflict' : 'written';
    const kind = is_removed ? 'removed' : is_conflicted ? 'conflicted' : 'written';
    return el('tr', { class: kind },
      el('td', { class: 'time' }, time),
      el('td', {}, el('button', { type: 'button', class: 'link', onclick: () => this.#context.inspect(id) }, id)),
      el('td', {}, el('span', { class: `tag ${kind}` }, what)),
      el('td', {}, el('code', {}, text.length > VALUE_CHARACTERS_MAX ? `${text.slice(0, VALUE_CHARACTERS_MAX)}…` : text)));
  }
}
