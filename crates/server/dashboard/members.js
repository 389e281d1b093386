// Who belongs to the namespace.

import { namespacePath } from './api.js';
import { confirmed } from './dialog.js';
import { el, say, show } from './dom.js';
import { nameOf } from './links.js';
import { timeOf } from './story.js';

export class Members {
  #context;
  #rows = el('tbody', { id: 'member-rows' });
  #problem = el('p', { class: 'problem', role: 'alert', hidden: true });
  #shown = '';

  constructor(context) {
    this.#context = context;
    const head = ['Member', 'Identity', 'State', 'Since (UTC)', ''].map((name) => el('th', { scope: 'col' }, name));
    this.element = el('section', { class: 'panel members', 'aria-label': 'Members' },
      el('h2', {}, 'Members'),
      el('p', { class: 'muted' }, 'Removals are remembered until every active member has applied them. A member that does not come back is retired, so that nothing waits for it any more.'),
      this.#problem,
      el('div', { class: 'scroll' }, el('table', { class: 'rows' }, el('thead', {}, el('tr', {}, head)), this.#rows)));
  }

  keys() {
    return [];
  }

  enter() {
    this.#shown = '';
    this.#problem.hidden = true;
  }

  leave() {}

  update(snapshot, links) {
    const members = snapshot.members.map((member) => ({ ...member, heard: links.find((link) => link.peer.peer === member.master) }));
    const now = JSON.stringify(members.map(({ master, state, heard }) => [master, state, heard?.level, heardAs(heard)]));
    if (now === this.#shown) return;
    // A row that somebody is at stays as it is.
    if (this.#rows.contains(document.activeElement) && this.#shown !== '') return;
    this.#shown = now;
    show(this.#rows, members.map((member) => this.#row(member, snapshot.own.master ?? snapshot.status?.node)));
  }

  #row({ master, state, since, heard, is_registered }, self) {
    const name = nameOf(master);
    const isSelf = master === self;
    const canRetire = this.#context.may('admin') && !isSelf && is_registered !== false && !['left', 'retired', 'leader'].includes(state);
    const retire = el('button', { type: 'button', class: 'danger', 'data-retire': name, onclick: () => this.#retire(name) }, 'Retire…');
    return el('tr', { 'data-member': name },
      el('td', {}, el('b', {}, name), isSelf && el('span', { class: 'muted' }, ' this node')),
      el('td', { class: 'muted' }, el('code', {}, master.slice(name.length))),
      el('td', {}, el('span', { class: `tag ${state}` }, state), heard && el('span', { class: `state ${heard.level}` }, ` ${heardAs(heard)}`)),
      el('td', {}, since ? timeOf(since) : '–'),
      el('td', { class: 'end' }, canRetire && retire));
  }

  async #retire(name) {
    const answer = await confirmed({ title: `Retire ${name}?`, text: 'Nothing waits for it any more, above all no removal. Should it come back, it joins again.', action: 'Retire', isDangerous: true });
    if (!answer) return;
    try {
      await this.#context.api.post(`${namespacePath(this.#context.namespace)}/members/${encodeURIComponent(name)}/retire`);
      this.#context.announce(`${name} is retired.`);
      this.#problem.hidden = true;
    } catch (problem) {
      this.#problem.hidden = false;
      say(this.#problem, problem.message);
    }
    document.activeElement?.blur();
    this.#shown = '';
    this.#context.watch.now();
  }
}

/** Without what changes each second, as somebody may be about to click. */
function heardAs(link) {
  if (!link || link.level === 'off') return '';
  if (link.level !== 'bad') return 'heard';
  return link.word.startsWith('silent') ? 'silent' : link.word;
}
