// What this node counts, as a row of figures.

import { el } from './dom.js';
import { count, duration } from './links.js';

const FIGURES = [
  ['writes_local', 'writes here', 'Since the node was started'],
  ['writes', 'writes here', 'Since the node was started'],
  ['events_applied', 'applied from others', 'Since the node was started'],
  ['entries_applied', 'applied', 'Entries of the log, since the node was started'],
  ['conflicts_detected', 'conflicts', 'Writes that did not know of each other, since the node was started'],
  ['outbox_len', 'wait for the broker', 'Writes in the outbox'],
  ['event_buffer_size', 'wait for others', 'Events that wait for what they depend on, or for their time'],
  ['tombstones', 'tombstones', 'Removals that are still remembered'],
  ['keys', 'keys', 'Keys that have a value'],
  ['active_peers', 'nodes heard', 'Other nodes that were heard lately'],
];

export function factsOf(own) {
  const facts = FIGURES.filter(([name]) => own.metrics?.[name] !== undefined)
    .map(([name, label, title]) => ({ value: count(own.metrics[name]), label, title }));
  if (own.term !== undefined) facts.unshift({ value: count(own.term), label: 'term', title: 'The newest one' });
  if (own.staleness_ms !== undefined && own.staleness_ms !== null) {
    facts.push({ value: duration(own.staleness_ms), label: 'may be lacking', title: 'For how long something may be missing here' });
  }
  return facts;
}

export function figures(facts) {
  return facts.map(({ value, label, title }) => el('div', { class: 'figure', title }, el('dt', {}, label), el('dd', {}, value)));
}
