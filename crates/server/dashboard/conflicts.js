// The inbox of conflicts that wait for somebody.

import { entityPath } from './api.js';
import { firstPicks, pickedValue, rowsOf, shownCell } from './difference.js';
import { el, say, show } from './dom.js';
import { parse, print } from './exact.js';
import { byWhom } from './story.js';

export class Conflicts {
  #context;
  #list = el('ul', { class: 'inbox', role: 'listbox', 'aria-label': 'Conflicts' });
  #detail = el('section', { class: 'panel detail', 'aria-label': 'The conflict' });
  #note = el('p', { class: 'muted small' });
  #shown = '';
  #open = null;
  #all = [];

  constructor(context) {
    this.#context = context;
    this.element = el('div', { class: 'two' }, el('section', { class: 'panel list', 'aria-label': 'Inbox' }, el('h2', {}, 'Inbox'), this.#list, this.#note), this.#detail);
  }

  keys() {
    return [['j', 'Next conflict', () => this.#step(1)], ['k', 'Previous conflict', () => this.#step(-1)]];
  }

  enter() {
    this.#shown = '';
    this.#openThe(null);
  }

  leave() {}

  update(snapshot) {
    this.#all = snapshot.conflicts;
    const now = JSON.stringify(this.#all.map(({ id, context }) => [id, context]));
    if (now === this.#shown) return;
    this.#shown = now;
    this.#showList();
    const fresh = this.#all.find(({ id }) => id === this.#open?.id);
    if (!this.#open || this.#open.isDone) this.#openThe(this.#all[0] ?? null, snapshot);
    else if (!fresh) this.#openThe(this.#all[0] ?? null, snapshot, `${this.#open.id} was resolved elsewhere.`);
    else if (fresh.context !== this.#open.context) this.#open.outdated(() => this.#openThe(fresh, snapshot));
    let note = snapshot.hasMoreConflicts ? `The first ${this.#all.length} are shown.` : '';
    if (snapshot.own.hasConflicts === false) note = 'A namespace of this mode has no conflicts.';
    say(this.#note, note);
  }

  #showList() {
    const focused = this.#list.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    show(this.#list, this.#all.map((conflict) => el('li', {
      role: 'option', tabindex: 0, 'data-id': conflict.id, 'aria-selected': String(conflict.id === this.#open?.id),
      onclick: () => this.#openThe(conflict),
      onkeydown: (event) => ['Enter', ' '].includes(event.key) && (event.preventDefault(), this.#openThe(conflict)),
    }, el('span', { class: 'id' }, conflict.id), el('span', { class: 'muted' }, `${conflict.versions.length} versions`))));
    if (focused !== null) [...this.#list.children].find((row) => row.dataset.id === focused)?.focus();
  }

  #step(by) {
    const at = this.#all.findIndex(({ id }) => id === this.#open?.id);
    const next = this.#all[Math.min(Math.max(at + by, 0), this.#all.length - 1)];
    if (next) this.#openThe(next);
    [...this.#list.children].find((row) => row.dataset.id === next?.id)?.focus();
  }

  #openThe(conflict, snapshot, note) {
    if (!conflict) {
      this.#open = null;
      show(this.#detail, el('div', { class: 'nothing' }, el('p', { class: 'big' }, 'No conflicts wait.'),
        el('p', { class: 'muted' }, note ?? 'Conflicts come here under the strategies “manual” and “detect”; the others resolve them by themselves.')));
    } else {
      this.#open = new Detail(this.#context, conflict, () => this.#context.watch.now());
      show(this.#detail, note && el('p', { class: 'muted' }, note), this.#open.element);
    }
    for (const row of this.#list.children) row.setAttribute('aria-selected', String(row.dataset.id === this.#open?.id));
  }
}

/** One conflict: its versions side by side, what is to become of it, and the button. */
class Detail {
  #context;
  #rows;
  #picks;
  #cells = [];
  #heads = [];
  #isRemoval = false;
  #merged = el('textarea', { class: 'merged', spellcheck: 'false', rows: 8, 'aria-label': 'The value that it becomes, as JSON', oninput: () => this.#edited() });
  #problem = el('p', { class: 'problem', role: 'alert', hidden: true });
  #notice = el('p', { class: 'notice', role: 'status', hidden: true });
  #button = el('button', { type: 'button', class: 'primary', id: 'resolve', onclick: () => this.#resolve() }, 'Resolve');
  isDone = false;

  constructor(context, conflict, onresolved) {
    this.#context = context;
    this.id = conflict.id;
    this.context = conflict.context;
    this.versions = conflict.versions;
    this.onresolved = onresolved;
    this.#rows = rowsOf(conflict.versions);
    this.#picks = firstPicks(this.#rows);
    this.element = el('div', {},
      el('header', { class: 'title' }, el('h2', { class: 'id' }, conflict.id),
        el('button', { type: 'button', class: 'quiet', onclick: () => context.inspect(conflict.id) }, 'Inspect')),
      this.#notice, el('div', { class: 'scroll' }, this.#table()),
      el('h3', {}, 'It becomes'), this.#merged, this.#problem,
      el('div', { class: 'actions' }, context.may('write') ? this.#button : el('p', { class: 'muted' }, 'Your token may not write.')));
    this.#choose(conflict.versions.findIndex((version) => !version.is_removal));
  }

  outdated(reopen) {
    this.#notice.hidden = false;
    show(this.#notice, 'It was written again meanwhile. ', el('button', { type: 'button', onclick: reopen }, 'Show what it is now'));
  }

  #table() {
    this.#heads = this.versions.map((version, index) => el('button', { type: 'button', class: 'take', onclick: () => this.#choose(index) },
      version.is_removal ? 'Remove it' : 'Choose this'));
    const head = this.versions.map((version, index) => el('th', { scope: 'col' }, el('div', { class: 'author' }, byWhom(version)), this.#heads[index]));
    const rows = this.#rows.map(({ field, cells, differs }, row) => {
      const drawn = cells.map((cell, index) => el('button', {
        type: 'button', class: 'cell', 'aria-label': `${field}: ${shownCell(cell)}`, onclick: () => this.#pick(row, index),
      }, el('code', {}, this.versions[index].is_removal ? 'removed' : shownCell(cell))));
      this.#cells.push(drawn);
      return el('tr', { class: differs ? 'differs' : '' },
        el('th', { scope: 'row' }, el('span', { class: 'field' }, field), differs && el('span', { class: 'mark', title: 'The versions differ here' }, '≠')),
        drawn.map((cell) => el('td', {}, cell)));
    });
    return el('table', { class: 'siblings' }, el('thead', {}, el('tr', {}, el('th', {}, 'Field'), head)), el('tbody', {}, rows));
  }

  #choose(index) {
    this.#isRemoval = index < 0 || this.versions[index].is_removal;
    if (index >= 0) this.#picks = this.#rows.map(() => index);
    this.#showPicks(index);
  }

  #pick(row, index) {
    if (this.versions[index].is_removal) return this.#choose(index);
    this.#isRemoval = false;
    this.#picks[row] = index;
    // What a removal has of the other fields is nothing; those of the others stay.
    this.#picks = this.#picks.map((pick) => (this.versions[pick].is_removal ? index : pick));
    this.#showPicks(this.#picks.every((pick) => pick === this.#picks[0]) ? this.#picks[0] : -1);
  }

  #showPicks(whole) {
    this.#heads.forEach((head, index) => head.setAttribute('aria-pressed', String(index === whole)));
    this.#cells.forEach((row, at) => row.forEach((cell, index) => cell.setAttribute('aria-pressed', String(this.#picks[at] === index))));
    this.#merged.disabled = this.#isRemoval;
    this.#merged.value = this.#isRemoval ? '' : print(pickedValue(this.#rows, this.#picks));
    this.#merged.placeholder = this.#isRemoval ? 'It is removed.' : '';
    this.#edited();
  }

  /** The value in the field, or why there is none. */
  #edited() {
    let problem = '';
    let value;
    try {
      if (!this.#isRemoval) value = parse(this.#merged.value);
    } catch (error) {
      problem = `This is not JSON: ${error.message}`;
    }
    this.#problem.hidden = problem === '';
    say(this.#problem, problem);
    this.#button.disabled = problem !== '';
    return value;
  }

  async #resolve() {
    const value = this.#edited();
    this.#button.disabled = true;
    try {
      const body = { context: this.context };
      if (!this.#isRemoval) body.value = value;
      await this.#context.api.post(entityPath(this.#context.namespace, this.id, '/resolve'), body);
      this.isDone = true;
      this.#context.announce(`${this.id} is resolved.`);
      this.onresolved();
    } catch (problem) {
      this.#problem.hidden = false;
      say(this.#problem, problem.message);
      this.#button.disabled = false;
    }
  }
}
