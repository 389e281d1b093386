// Why an entity is as it is, told in sentences.

import { el } from './dom.js';
import { line } from './exact.js';
import { nameOf } from './links.js';

/** `us-east` and `17` of `us-east@0199c2f3a1b20001:17`. */
export function authorOf(dot) {
  const text = String(dot ?? '');
  return { name: nameOf(text), sequence: text.slice(text.lastIndexOf(':') + 1) };
}

/** `2026-11-21 12:30:04.125` of the stamp of a write. */
export function timeOf(hlc) {
  const [, day, time] = /^(\S+?)T([\d:.]+)Z/.exec(String(hlc ?? '')) ?? [];
  return day ? `${day} ${time}` : String(hlc ?? '');
}

export function byWhom(version) {
  const { name } = authorOf(version.dot);
  return el('span', { title: `${version.dot}, ${version.hlc}` }, el('b', {}, name), ` at ${timeOf(version.hlc)} UTC`);
}

/** The answer of `explain`, as a list of what happened. */
export function story(why) {
  const { entity, strategy, rule, conflicts = [] } = why;
  const live = entity.versions ?? [];
  const steps = [];
  steps.push(el('li', {}, 'The strategy here is ', el('b', {}, strategy), ': ', sentence(rule)));
  if (live.length === 1) {
    steps.push(el('li', {}, 'One version is live, ', live[0].is_removal ? 'a removal by ' : 'written by ', byWhom(live[0]), '. All that was written before was known to its author, or has lost.'));
  } else {
    steps.push(el('li', {}, `${live.length} versions are live, as their authors did not know of each other, or each wins some fields: `,
      el('ul', {}, live.map((version) => el('li', {}, byWhom(version), version.is_removal ? ', a removal' : holds(version.value))))));
  }
  if (entity.is_conflicted) steps.push(el('li', { class: 'warn' }, 'It is in conflict: the value that is shown is one of several, until somebody resolves it.'));
  for (const past of conflicts) {
    steps.push(el('li', {}, 'There was a conflict. ', el('ul', {}, past.clashes.map(clashed))));
  }
  if (conflicts.length === 0 && !entity.is_conflicted) steps.push(el('li', {}, 'No conflict about it is remembered.'));
  return el('ol', { class: 'story' }, steps);
}

function holds(value) {
  const text = line(value);
  return el('span', {}, ': ', el('code', {}, text.length > 200 ? `${text.slice(0, 200)}…` : text));
}

function clashed({ field, winner, loser, reason }) {
  const wrote = (side) => [byWhom(side), side.value === undefined ? ' removed it' : ' wrote ', side.value === undefined ? '' : el('code', {}, line(side.value))];
  return el('li', {}, field === undefined ? '' : el('span', {}, 'Field ', el('code', {}, field), ': '),
    ...wrote(winner), ', ', ...wrote(loser), '. The first won: ', sentence(reason));
}

function sentence(text) {
  const whole = String(text ?? '');
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
