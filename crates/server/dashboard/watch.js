// Asks the node again and again how it stands with the others, and remembers for a while what it answered.

import { namespacePath } from './api.js';
import { Trail } from './links.js';

const POLL_MS = 1_000;
/** How often a page asks that nobody sees. */
const POLL_HIDDEN_MS = 5_000;
/** How many answers are remembered of each link: five minutes. */
export const HISTORY_MAX = 300;
/** How many links are remembered. */
const LINKS_MAX = 256;
/** How many conflicts are fetched to be counted and listed. */
export const CONFLICTS_MAX = 20;

export class Watch extends EventTarget {
  #api;
  #timer = null;
  #namespace = null;
  #isAsking = false;
  /** Of each link, the answers. */
  histories = new Map();
  /** Of each master, when it was heard to have what. */
  #trails = new Map();
  /** The latest answers; `problem` if there are none. */
  snapshot = null;

  constructor(api) {
    super();
    this.#api = api;
    document.addEventListener('visibilitychange', () => document.hidden || this.now());
  }

  start(namespace) {
    if (namespace !== this.#namespace) {
      this.histories.clear();
      this.#trails.clear();
      this.snapshot = null;
    }
    this.#namespace = namespace;
    this.now();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#namespace = null;
  }

  /** Asks at once. */
  async now() {
    if (this.#namespace === null || this.#isAsking) return;
    clearTimeout(this.#timer);
    this.#isAsking = true;
    const namespace = this.#namespace;
    const snapshot = await this.#ask(namespace);
    this.#isAsking = false;
    if (this.#namespace === null) return;
    if (namespace === this.#namespace) {
      this.snapshot = snapshot;
      this.dispatchEvent(new Event('snapshot'));
    }
    const pause = namespace === this.#namespace ? (document.hidden ? POLL_HIDDEN_MS : POLL_MS) : 0;
    this.#timer = setTimeout(() => this.now(), pause);
  }

  /** Of a master, the first that it was heard to have and `vector` lacks: since when. */
  lackingSince(master, vector) {
    return this.#trails.get(master)?.lackingSince(vector) ?? null;
  }

  /** Adds what a link is like now. */
  remember(link, sample) {
    const history = this.histories.get(link) ?? [];
    history.push(sample);
    if (history.length > HISTORY_MAX) history.shift();
    this.histories.set(link, history);
    forget(this.histories);
  }

  async #ask(namespace) {
    const path = namespacePath(namespace);
    try {
      const status = await this.#api.get('/cluster/status');
      const own = ownOf(status, namespace);
      const optional = (asked) => this.#api.get(asked).catch(() => ({}));
      const [sync, members, conflicts] = await Promise.all([
        this.#api.get('/cluster/sync'),
        optional(`${path}/members`),
        own.hasConflicts ? optional(`${path}/conflicts?limit=${CONFLICTS_MAX}`) : {},
      ]);
      const peers = sync.namespaces?.[namespace] ?? [];
      const now = Date.now();
      this.#follow(own.master, own.vector, now);
      for (const peer of peers) this.#follow(peer.peer, peer.vector, now);
      return {
        namespace, status, own, now,
        peers,
        members: members.members ?? [],
        conflicts: conflicts.conflicts ?? [],
        hasMoreConflicts: conflicts.next_cursor !== undefined,
      };
    } catch (problem) {
      return { namespace, problem, status: null, own: {}, peers: [], members: [], conflicts: [], now: Date.now() };
    }
  }

  #follow(master, vector, now) {
    if (!master || !vector) return;
    const trail = this.#trails.get(master) ?? new Trail();
    trail.push(now, vector);
    this.#trails.set(master, trail);
    forget(this.#trails);
  }
}

/** How this node is in a namespace. What only one of the modes has stands beside the rest. */
function ownOf(status, namespace) {
  const { leadership, ...own } = status.namespaces?.[namespace] ?? {};
  const hasConflicts = own.mode !== 'leader-follower';
  if (hasConflicts) own.vector ??= {};
  return { ...own, ...leadership, hasConflicts };
}

/** Of too many, the one that was added first. */
function forget(map) {
  if (map.size > LINKS_MAX) map.delete(map.keys().next().value);
}
