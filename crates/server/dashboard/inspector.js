// One entity: its value, what is live of it, and why it is so.

import { entityPath, namespacePath } from './api.js';
import { rowsOf, shownCell } from './difference.js';
import { confirmed } from './dialog.js';
import { el, say, show } from './dom.js';
import { parse, print } from './exact.js';
import { byWhom, story } from './story.js';

/** How many ids are listed. */
const IDS_MAX = 50;

export class Inspector {
  #context;
  #find = el('input', { id: 'inspector-id', type: 'search', placeholder: 'id, or what it begins with', 'aria-label': 'Id of the entity', spellcheck: 'false', autocomplete: 'off', oninput: () => this.#list(), onkeydown: (event) => event.key === 'Enter' && this.#context.inspect(this.#find.value) });
  #ids = el('ul', { class: 'inbox', 'aria-label': 'Entities' });
  #more = el('p', { class: 'muted small' });
  #detail = el('section', { class: 'panel detail', 'aria-label': 'The entity' });
  #id = '';
  #etag = null;
  #text = null;
  #asked = 0;

  constructor(context) {
    this.#context = context;
    this.element = el('div', { class: 'two' }, el('section', { class: 'panel list', 'aria-label': 'Entities' }, el('h2', {}, 'Entities'), this.#find, this.#ids, this.#more), this.#detail);
  }

  keys() {
    return [['/', 'Find an entity', () => this.#find.focus()], ['r', 'Read it again', () => this.#open()]];
  }

  enter(id) {
    this.#id = id ?? '';
    if (id) this.#find.value = id;
    this.#list();
    this.#open();
  }

  leave() {}

  update() {}

  async #list() {
    const asked = (this.#asked += 1);
    // Of the id that is open, its neighbours.
    const typed = this.#find.value;
    const prefix = typed === this.#id ? typed.slice(0, typed.lastIndexOf('/') + 1) : typed;
    const query = new URLSearchParams({ prefix, limit: IDS_MAX });
    try {
      const page = await this.#context.api.get(`${namespacePath(this.#context.namespace)}/entities?${query}`);
      if (asked !== this.#asked) return;
      show(this.#ids, page.entities.map(({ id }) => el('li', {},
        el('button', { type: 'button', class: 'id', 'aria-current': id === this.#id ? 'true' : undefined, onclick: () => this.#context.inspect(id) }, id))));
      say(this.#more, page.next_cursor ? `The first ${IDS_MAX} are shown.` : page.entities.length === 0 ? 'None begins so.' : '');
    } catch (problem) {
      if (asked === this.#asked) say(this.#more, problem.message);
    }
  }

  async #open() {
    const id = this.#id;
    if (id === '') {
      show(this.#detail, el('div', { class: 'nothing' }, el('p', { class: 'big' }, 'Which entity?'), el('p', { class: 'muted' }, 'Choose one, or type an id and press Enter. A new id is one that you can write.')));
      return;
    }
    const { api, namespace } = this.#context;
    const optional = (asked) => asked.catch(() => null);
    try {
      const [entity, why] = await Promise.all([api.entity(namespace, id), optional(api.get(entityPath(namespace, id, '/explain')))]);
      if (id === this.#id) this.#show(entity, why);
    } catch (problem) {
      if (id === this.#id) show(this.#detail, el('h2', { class: 'id' }, id), el('p', { class: 'problem', role: 'alert' }, problem.message));
    }
  }

  #show(entity, why) {
    this.#etag = entity?.etag ?? null;
    const may = this.#context.may('write');
    const problem = el('p', { class: 'problem', role: 'alert', hidden: true });
    this.#text = el('textarea', { id: 'entity-value', spellcheck: 'false', rows: 10, readonly: !may, 'aria-label': 'Value, as JSON' });
    this.#text.value = entity ? print(entity.value) : '';
    this.#text.placeholder = entity ? '' : 'It has no value. Write one as JSON, such as {"name": "Alice"}.';
    const failed = (error) => {
      problem.hidden = false;
      say(problem, error.type === 'version-mismatch' ? 'Somebody wrote it meanwhile. Read it again (r) before you write.' : error.message);
    };
    const save = el('button', { type: 'button', class: 'primary', id: 'entity-save', onclick: () => this.#save().catch(failed) }, entity ? 'Save' : 'Create');
    const remove = el('button', { type: 'button', class: 'danger', id: 'entity-delete', onclick: () => this.#delete().catch(failed) }, 'Delete…');
    const again = el('button', { type: 'button', onclick: () => this.#open() }, 'Read again');
    const conflicted = why?.entity?.is_conflicted;
    show(this.#detail,
      el('header', { class: 'title' }, el('h2', { class: 'id' }, this.#id), conflicted && el('a', { class: 'tag conflicted', href: this.#context.hash('conflicts') }, 'in conflict'), !entity && el('span', { class: 'tag removed' }, why ? 'removed' : 'not there')),
      this.#text, problem,
      el('div', { class: 'actions' }, may && save, may && entity && remove, again, this.#etag && el('span', { class: 'muted small etag', title: 'The state of the entity' }, `ETag ${this.#etag.replaceAll('"', '')}`)),
      why && el('h3', {}, 'Why it is so'), why && story(why),
      why && el('h3', {}, 'What is live'), why && versions(why.entity.versions));
  }

  async #save() {
    const text = this.#text.value;
    try {
      parse(text);
    } catch (error) {
      throw new Error(`This is not JSON: ${error.message}`);
    }
    await this.#context.api.put(this.#context.namespace, this.#id, text, this.#etag);
    this.#context.announce(`${this.#id} is written.`);
    this.#list();
    await this.#open();
  }

  async #delete() {
    const answer = await confirmed({ title: `Delete ${this.#id}?`, text: 'It is removed on every node. What others write to it at the same time is a conflict, as the strategy of the namespace has it.', action: 'Delete', isDangerous: true });
    if (!answer) return;
    await this.#context.api.delete(this.#context.namespace, this.#id, this.#etag);
    this.#context.announce(`${this.#id} is removed.`);
    this.#list();
    await this.#open();
  }
}

function versions(live) {
  const rows = rowsOf(live);
  const head = live.map((version) => el('th', { scope: 'col' }, el('div', { class: 'author' }, byWhom(version)), el('div', { class: 'muted small dot' }, version.dot)));
  const body = rows.map(({ field, cells, differs }) => el('tr', { class: live.length > 1 && differs ? 'differs' : '' }, el('th', { scope: 'row' }, field),
    cells.map((cell, index) => el('td', {}, el('code', {}, live[index].is_removal ? 'removed' : shownCell(cell))))));
  return el('div', { class: 'scroll' }, el('table', { class: 'siblings' }, el('thead', {}, el('tr', {}, el('th', {}, 'Field'), head)), el('tbody', {}, body)));
}
