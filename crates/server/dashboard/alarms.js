// What somebody should look at now.

import { el, say, show } from './dom.js';
import { count, duration } from './links.js';

/** From which part on an outbox counts as nearly full. */
const OUTBOX_PART = 0.8;
/** From which part of the tolerated drift on a clock counts as off, and from when on in any case. */
const CLOCK_PART = 0.5;
const CLOCK_MS = 5_000;

/** The alarms, worst first: `[level, kind, text, what to do]`. */
export function alarmsOf(snapshot, links) {
  const { own, status, problem } = snapshot;
  if (problem) return [['bad', 'node', 'This node does not answer', problem.message]];
  const alarms = [];
  const add = (level, kind, text, hint) => alarms.push([level, kind, text, hint]);
  if (own.failure) add('bad', 'store', 'The store failed', `${own.failure}. Start the node again.`);
  if (['down', 'lost'].includes(own.link)) {
    const what = own.link === 'lost' ? 'The log of the broker was lost' : 'The link to the broker is down';
    add('bad', 'link', what, `Writes go on here, and wait. ${own.link_reason ?? ''}`);
  }
  if (own.fenced) add('bad', 'fenced', 'Two processes use one identity', `${own.fenced}. Is the store a copy of another one that is in use?`);
  if (own.trouble) add('late', 'follows', 'This node cannot follow', own.trouble);
  for (const link of links) {
    const { peer, name } = link;
    if (link.level === 'off') continue;
    if (peer.health === 'diverged') add('bad', 'diverged', `${name} has diverged`, 'It has the same writes and another state: one of the two is damaged.');
    if (peer.health === 'strategy-mismatch') add('bad', 'strategies', `${name} resolves conflicts by other rules`, 'Configure the two alike.');
    if (link.word.startsWith('silent')) add('bad', 'silent', `Nothing is heard of ${name}`, `For ${duration(link.silentMs)}. It may be down or cut off.`);
    if (link.level === 'late') add('late', 'lag', `${name} and this node are far apart`, link.word);
    const clock = Math.abs(Number(peer.clock_ahead_ms ?? 0));
    // What a node that is silent said of its clock is old.
    if (link.level !== 'bad' && clock > Math.min(CLOCK_MS, CLOCK_PART * (own.max_drift_ms ?? 60_000))) {
      const way = peer.clock_ahead_ms > 0 ? 'ahead of' : 'behind';
      add('late', 'clock', `The clock of ${name} is off`, `${duration(clock)} ${way} the one here. Is time synchronised on both?`);
    }
  }
  const outbox = Number(own.metrics?.outbox_len ?? 0);
  if (own.link !== 'absent' && own.outbox_events_max && outbox >= OUTBOX_PART * own.outbox_events_max) {
    add('late', 'outbox', 'The outbox is nearly full', `${count(outbox)} of ${count(own.outbox_events_max)} writes wait for the broker.`);
  }
  if (Number(own.metrics?.quarantined ?? 0) > 0) add('late', 'quarantine', 'Writes wait in quarantine', 'They are stamped too far ahead of the clock here.');
  if (own.role && !own.leader) add('bad', 'leader', 'Nobody leads', 'No write is taken until a leader is elected.');
  if (status && !status.is_ready && alarms.length === 0) add('late', 'ready', 'This node is not ready', (status.reasons ?? []).join('; '));
  return alarms.sort(([one], [other]) => (one === other ? 0 : one === 'bad' ? -1 : 1));
}

export class Alarms {
  #list = document.getElementById('alarms');
  #news = document.getElementById('alarm-news');
  #hints = new Map();

  /** What is new is read aloud once, however often its details change. */
  update(alarms) {
    const names = alarms.map(([, kind, what]) => `${kind} ${what}`);
    const isSame = names.length === this.#hints.size && names.every((name) => this.#hints.has(name));
    if (!isSame) {
      const fresh = alarms.filter((_, index) => !this.#hints.has(names[index])).map(([, , what]) => what);
      if (fresh.length > 0 || alarms.length === 0) say(this.#news, fresh.join('. '));
      this.#hints = new Map(names.map((name) => [name, el('span', { class: 'hint' })]));
      document.title = alarms.length > 0 ? `(${alarms.length}) Archipelago` : 'Archipelago';
      show(this.#list, alarms.map(([level, kind, what], index) => el('li', { class: `alarm ${level}`, 'data-kind': kind },
        el('span', { class: 'mark', 'aria-hidden': 'true' }, level === 'bad' ? '⨯' : '!'),
        el('strong', {}, what), this.#hints.get(names[index]))));
    }
    alarms.forEach(([, , , hint], index) => say(this.#hints.get(names[index]), hint));
  }
}
