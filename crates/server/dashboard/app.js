// The page: who is asked, what is shown, and where.

import { Alarms, alarmsOf } from './alarms.js';
import { Api } from './api.js';
import { Conflicts } from './conflicts.js';
import { el, say, show } from './dom.js';
import { Inspector } from './inspector.js';
import { Islands } from './islands.js';
import { Keys } from './keys.js';
import { linksOf } from './links.js';
import { Login } from './login.js';
import { Members } from './members.js';
import { Tail } from './tail.js';
import { Theme } from './theme.js';
import { Watch } from './watch.js';

const ROLES = ['read', 'write', 'admin'];
const VIEWS = ['islands', 'conflicts', 'tail', 'inspector', 'members'];
const ANNOUNCED_MS = 4_000;

const byId = (id) => document.getElementById(id);

class App {
  api = new Api();
  watch = new Watch(this.api);
  namespace = null;
  #role = 'read';
  #view = null;
  #views = {};
  #keys = new Keys();
  #alarms = new Alarms();
  #theme = new Theme(byId('theme'));
  #login = new Login(async (token) => {
    this.api.signIn(token);
    await this.#enter();
  });
  #announced = null;

  constructor() {
    this.#views = {
      islands: new Islands(this), conflicts: new Conflicts(this), tail: new Tail(this), inspector: new Inspector(this), members: new Members(this),
    };
    this.api.onunauthorized = () => this.#leave('This token is not, or no longer, one of the node’s.');
    this.watch.addEventListener('snapshot', () => this.#update());
    addEventListener('hashchange', () => this.#route());
    byId('help').addEventListener('click', () => this.#keys.help());
    byId('sign-out').addEventListener('click', () => this.#leave());
    byId('namespace').addEventListener('change', (event) => this.#go(event.target.value, this.#view ?? 'islands'));
    this.#keys.always([
      ...VIEWS.map((view, index) => [String(index + 1), `Show ${view}`, () => this.#go(this.namespace, view)]),
      ['n', 'Choose the namespace', () => byId('namespace').focus()],
      ['t', 'Light, dark, or as the system has it', () => this.#theme.next()],
      ['?', 'This help', () => this.#keys.help()],
    ]);
  }

  async start() {
    try {
      await this.#enter();
    } catch (problem) {
      const why = problem.status === 401 ? (this.api.hasToken ? 'Nobody has this token.' : null) : problem.message;
      this.#leave(why);
    }
  }

  /** Whether the role of the token is enough. */
  may(role) {
    return ROLES.indexOf(this.#role) >= ROLES.indexOf(role);
  }

  hash(view, id) {
    const path = [this.namespace, view, ...(id ? [id] : [])];
    return `#/${path.map(encodeURIComponent).join('/')}`;
  }

  inspect(id) {
    this.#goTo(this.hash('inspector', id));
  }

  announce(text) {
    const place = byId('announcement');
    clearTimeout(this.#announced);
    place.textContent = text;
    this.#announced = setTimeout(() => (place.textContent = ''), ANNOUNCED_MS);
  }

  async #enter() {
    this.#role = await this.api.role();
    const { namespaces } = await this.api.get('/v1/namespaces');
    show(byId('namespace'), namespaces.map((name) => el('option', { value: name }, name)));
    say(byId('role'), `may ${this.#role === 'admin' ? 'administer' : this.#role}`);
    byId('sign-out').hidden = !this.api.hasToken;
    byId('shell').hidden = false;
    this.#login.hide();
    this.#route();
  }

  #leave(why) {
    this.watch.stop();
    this.#views[this.#view]?.leave();
    this.#view = null;
    this.namespace = null;
    this.api.signOut();
    byId('shell').hidden = true;
    show(byId('view'));
    this.#login.show(why ?? null);
  }

  #go(namespace, view) {
    this.namespace = namespace;
    this.#goTo(this.hash(view));
  }

  #goTo(hash) {
    if (location.hash === hash) this.#route();
    else location.hash = hash;
  }

  #route() {
    if (byId('shell').hidden) return;
    const names = [...byId('namespace').options].map((option) => option.value);
    const [namespace, view, id] = location.hash.replace(/^#\//, '').split('/').map(decoded);
    const where = names.includes(namespace) ? namespace : names[0];
    const next = VIEWS.includes(view) ? view : 'islands';
    this.#views[this.#view]?.leave();
    this.namespace = where;
    byId('namespace').value = where;
    for (const name of VIEWS) {
      tab(name).href = this.hash(name);
      if (name === next) tab(name).setAttribute('aria-current', 'page');
      else tab(name).removeAttribute('aria-current');
    }
    if (this.#view !== next) show(byId('view'), this.#views[next].element);
    this.#view = next;
    this.#keys.here(this.#views[next].keys());
    this.#views[next].enter(id);
    this.watch.start(where);
    if (this.watch.snapshot) this.#render();
  }

  #update() {
    const { snapshot } = this.watch;
    for (const link of snapshot.status ? linksOf(this.watch) : []) {
      this.watch.remember(link.key, { at: snapshot.now, events: link.ahead + link.behind, level: link.level });
    }
    this.#render();
  }

  #render() {
    const { snapshot } = this.watch;
    const links = snapshot.status ? linksOf(this.watch) : [];
    this.#alarms.update(alarmsOf(snapshot, links));
    if (snapshot.status) this.#showState(snapshot);
    this.#views[this.#view]?.update(snapshot, links);
  }

  #showState({ status, own, conflicts, hasMoreConflicts }) {
    say(byId('node'), status.node);
    const lead = own.role ? `, ${own.role}${own.term === undefined ? '' : ` in term ${own.term}`}` : '';
    say(byId('mode'), `${own.mode ?? ''}${lead}`);
    byId('mode').title = own.leader ? `Led by ${own.leader.node}` : 'How the namespace is replicated';
    const words = { up: 'broker up', down: 'broker down', lost: 'log lost', absent: 'alone, no broker' };
    say(byId('broker'), words[own.link] ?? String(own.link ?? ''));
    byId('broker').className = `chip state ${{ up: 'good', absent: 'off' }[own.link] ?? 'bad'}`;
    const count = byId('conflict-count');
    count.hidden = conflicts.length === 0;
    say(count, `${conflicts.length}${hasMoreConflicts ? '+' : ''}`);
    count.setAttribute('aria-label', `${conflicts.length} wait`);
  }
}

function tab(view) {
  return document.querySelector(`nav [data-view="${view}"]`);
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

new App().start();
