// The view of the nodes: the map, and a card for each link.

import { el, say, show } from './dom.js';
import { factsOf, figures } from './facts.js';
import { count, duration, nameOf } from './links.js';
import { sparkline } from './sparkline.js';
import { Topology } from './topology.js';

export class Islands {
  #context;
  #map = new Topology();
  #cards = new Map();
  #list = el('div', { class: 'cards' });
  #none = el('p', { class: 'muted empty', hidden: true }, 'No other node was heard yet.');
  #facts = el('dl', { class: 'figures' });
  #chosen = null;

  constructor(context) {
    this.#context = context;
    const legend = [['good', 'in step'], ['warn', 'a little late'], ['late', 'far behind'], ['bad', 'silent, cut off or diverged'], ['off', 'left, or not known']];
    this.element = el('div', { class: 'islands' },
      el('section', { class: 'panel chart', 'aria-label': 'Map' }, this.#map.element,
        el('ul', { class: 'legend', 'aria-label': 'Colours' }, legend.map(([level, what]) => el('li', { class: level }, what)))),
      el('section', { class: 'side', 'aria-label': 'Links' }, this.#list, this.#none),
      el('section', { class: 'panel below', 'aria-label': 'This node' }, this.#facts));
  }

  keys() {
    return [];
  }

  enter() {}

  leave() {}

  update(snapshot, links) {
    if (!snapshot.status) return;
    const { own, status } = snapshot;
    const broker = ['down', 'lost'].includes(own.link);
    const level = own.failure || broker ? 'bad' : status.is_ready ? 'good' : 'warn';
    const note = own.role ? `${own.role}, this node` : 'this node';
    this.#map.update({ name: nameOf(own.master) || status.node, level, note }, links, (name) => this.#choose(name));
    show(this.#facts, figures(factsOf(own)));
    this.#none.hidden = links.length > 0;
    for (const name of [...this.#cards.keys()].filter((name) => !links.some((link) => link.name === name))) {
      this.#cards.get(name).element.remove();
      this.#cards.delete(name);
    }
    for (const link of links) {
      if (!this.#cards.has(link.name)) {
        this.#cards.set(link.name, new Card(link.name));
        show(this.#list, links.map((link) => this.#cards.get(link.name)?.element));
      }
      this.#cards.get(link.name).update(link, this.#context.watch.histories.get(link.key) ?? []);
    }
  }

  #choose(name) {
    this.#cards.get(this.#chosen)?.element.classList.remove('chosen');
    this.#chosen = name;
    const card = this.#cards.get(name)?.element;
    card?.classList.add('chosen');
    card?.focus();
    card?.scrollIntoView({ block: 'nearest' });
  }
}

class Card {
  constructor(name) {
    this.word = el('span', { class: 'state' });
    this.here = el('dd');
    this.there = el('dd');
    this.heard = el('dd');
    this.clock = el('dd');
    this.picture = el('div', { class: 'picture' });
    this.role = el('span', { class: 'muted' });
    const fact = (label, value, title) => el('div', { title }, el('dt', {}, label), value);
    this.element = el('article', { class: 'card', tabindex: -1, 'data-node': name, 'aria-label': `Link to ${name}` },
      el('header', {}, el('h3', {}, name), this.role, this.word),
      this.picture,
      el('dl', {},
        fact('lacking here', this.here, 'Writes that it was heard to have, and that are not here yet'),
        fact('lacking there', this.there, 'Writes that are here, and that it was not heard to have yet'),
        fact('heard', this.heard, 'How long ago'),
        fact('clock', this.clock, 'How far its clock is ahead of the one here; the way here counts, too')));
  }

  update(link, history) {
    this.element.className = `card ${link.level}${this.element.classList.contains('chosen') ? ' chosen' : ''}`;
    say(this.word, link.word);
    say(this.role, link.role ?? '');
    const apart = (events, ms) => (events > 0 ? `${count(events)}${ms >= 1_000 ? ` · ${duration(ms)}` : ''}` : '0');
    say(this.here, apart(link.ahead, link.lagMs));
    say(this.there, apart(link.behind, link.behindMs));
    say(this.heard, link.silentMs < 1_500 ? 'now' : duration(link.silentMs));
    const clock = link.peer.clock_ahead_ms;
    say(this.clock, clock === undefined ? '–' : `${clock > 0 ? '+' : clock < 0 ? '−' : ''}${duration(Math.abs(clock))}`);
    show(this.picture, sparkline(history, `Late writes of the last minutes, now ${link.word}`));
  }
}
