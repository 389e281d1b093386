// What the answers of the node mean for each link: how far apart the two are, and whether that is well.

/** How many heartbeats may be missed before a link counts as silent, and how long that is at least. */
const SILENT_BEATS = 5;
const SILENT_MS_MIN = 2_500;
/** From where on a lag is much. */
const LATE_EVENTS = 1_000;
const LATE_MS = 10_000;
/** How many states of a master are remembered; of more, the oldest that still matter and the newest. */
const STATES_MAX = 300;

/** How bad it is, from best to worst. */
export const LEVELS = ['off', 'good', 'warn', 'late', 'bad'];

/** When a master was heard to have what. */
export class Trail {
  #states = [];

  push(at, vector) {
    const last = this.#states.at(-1);
    if (last && lacking(last.vector, vector) === 0) return;
    if (this.#states.length >= STATES_MAX) this.#states.pop();
    this.#states.push({ at, vector });
  }

  /** Since when it has had something that `vector` lacks; `null` if there is nothing. */
  lackingSince(vector) {
    return this.#states.find((state) => lacking(vector, state.vector) > 0)?.at ?? null;
  }
}

/** How many writes are in `of` that `vector` lacks. */
export function lacking(vector, of) {
  return Object.entries(of).reduce((sum, [master, sequence]) => sum + Math.max(0, sequence - (vector[master] ?? 0)), 0);
}

/** `us-east` of `us-east@0199c2f3a1b20001`. */
export function nameOf(master) {
  return String(master ?? '').split('@')[0];
}

/** The links of this node, one for each other node, in order of name. */
export function linksOf(watch) {
  const { snapshot } = watch;
  const heard = new Map();
  for (const peer of snapshot.peers) {
    const name = nameOf(peer.peer);
    // Of two incarnations the one that is heard counts.
    if (!heard.has(name) || heard.get(name).silent_ms > peer.silent_ms) heard.set(name, peer);
  }
  const names = [...heard.keys()].sort();
  return names.map((name) => linkOf(watch, name, heard.get(name)));
}

function linkOf(watch, name, peer) {
  const { own, now, members, status } = watch.snapshot;
  const beat = own.heartbeat_interval_ms ?? 1_000;
  const since = (at) => (at === null ? 0 : now - at);
  const link = {
    key: `${nameOf(own.master) || status.node} - ${name}`,
    name,
    peer,
    ahead: Number(peer.ahead_events ?? 0),
    behind: Number(peer.behind_events ?? 0),
    silentMs: Number(peer.silent_ms ?? 0),
    lagMs: own.vector ? since(watch.lackingSince(peer.peer, own.vector)) : 0,
    behindMs: peer.vector ? since(watch.lackingSince(own.master, peer.vector)) : Number(peer.lag_ms ?? 0),
    role: own.role && (own.leader?.node === name ? 'leader' : 'follower'),
  };
  // Both sides hear of each other once in a heartbeat, and this page asks once in a second.
  link.isBehind = link.behind > 0 && link.behindMs > 3 * beat + 2_000;
  link.isLacking = link.ahead > 0 && link.lagMs > 2_000;
  const silentMax = Math.max(SILENT_BEATS * beat, SILENT_MS_MIN);
  const member = members.find((member) => member.master === peer.peer);
  return { ...link, ...judged(link, own, member, silentMax) };
}

function judged(link, own, member, silentMax) {
  const { peer } = link;
  if (member && ['left', 'retired'].includes(member.state)) return { level: 'off', word: member.state };
  if (peer.health === 'diverged') return { level: 'bad', word: 'diverged' };
  if (peer.health === 'strategy-mismatch') return { level: 'bad', word: 'other strategies' };
  if (['down', 'lost'].includes(own.link)) return { level: 'bad', word: 'cut off' };
  if (link.silentMs > silentMax || peer.health === 'silent') return { level: 'bad', word: `silent ${duration(link.silentMs)}` };
  if (peer.health === 'desynced') return { level: 'late', word: 'takes the state anew' };
  const events = Math.max(link.isLacking ? link.ahead : 0, link.isBehind ? link.behind : 0);
  const ms = Math.max(link.isLacking ? link.lagMs : 0, link.isBehind ? link.behindMs : 0);
  if (events > LATE_EVENTS || ms > LATE_MS) return { level: 'late', word: `${count(events)} behind, ${duration(ms)}` };
  if (events > 0) return { level: 'warn', word: `${count(events)} behind, ${duration(ms)}` };
  return { level: 'good', word: 'in step' };
}

/** How two other nodes stand, as far as this node has heard. */
export function between(one, other) {
  if (one.level === 'off' || other.level === 'off') return { level: 'off', word: '' };
  if (one.level === 'bad' || other.level === 'bad') return { level: 'off', word: 'not known' };
  if (!one.peer.vector || !other.peer.vector) return { level: 'off', word: '' };
  const events = Math.max(lacking(one.peer.vector, other.peer.vector), lacking(other.peer.vector, one.peer.vector));
  return events > LATE_EVENTS ? { level: 'late', word: `${count(events)} apart` } : { level: 'good', word: '' };
}

export function duration(ms) {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} days`;
}

export function count(number) {
  return Number(number).toLocaleString('en');
}
