// The paths of the node.

import { parse } from './exact.js';

const TOKEN = 'archipelago-token';

/** The longest event of a stream, in characters; a longer one is no event of a node. */
const EVENT_CHARACTERS_MAX = 64 * 1024 * 1024;

/** What went wrong, in the words of the node. */
export class Problem extends Error {
  constructor(status, type, detail) {
    super(detail);
    this.status = status;
    this.type = type;
  }
}

export class Api {
  #token = sessionStorage.getItem(TOKEN);
  /** Is called when the token is not, or no longer, one of the node's. */
  onunauthorized = () => {};

  get hasToken() {
    return this.#token !== null;
  }

  signIn(token) {
    this.#token = token;
    sessionStorage.setItem(TOKEN, token);
  }

  signOut() {
    this.#token = null;
    sessionStorage.removeItem(TOKEN);
  }

  /** The role of the token. Does not tell `onunauthorized`. */
  async role() {
    const response = await this.#send('GET', '/v1/access');
    return (await bodyOf(response)).role;
  }

  /** Whatever is at a path. */
  async get(path, options) {
    return bodyOf(await this.#ask('GET', path, options));
  }

  async post(path, body) {
    return bodyOf(await this.#ask('POST', path, { text: body === undefined ? undefined : JSON.stringify(body) }));
  }

  /** The value of an entity and its state, `null` if there is none. */
  async entity(namespace, id) {
    try {
      const response = await this.#ask('GET', entityPath(namespace, id));
      return { etag: response.headers.get('etag'), value: parse(await response.text()) };
    } catch (problem) {
      if (problem.type === 'no-such-entity') return null;
      throw problem;
    }
  }

  /** Writes an entity if it still is as it was seen: `etag`, or `null` if there was none. */
  async put(namespace, id, text, etag) {
    const headers = etag === null ? { 'if-none-match': '*' } : { 'if-match': etag };
    return bodyOf(await this.#ask('PUT', entityPath(namespace, id), { text, headers }));
  }

  async delete(namespace, id, etag) {
    return bodyOf(await this.#ask('DELETE', entityPath(namespace, id), { headers: { 'if-match': etag } }));
  }

  /** The events of a stream. Read by hand, as an `EventSource` sends no token. */
  async *events(path, lastId, signal) {
    const headers = { accept: 'text/event-stream' };
    if (lastId) headers['last-event-id'] = lastId;
    const response = await this.#ask('GET', path, { headers, signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      let end;
      while ((end = text.indexOf('\n\n')) >= 0) {
        const event = eventOf(text.slice(0, end));
        text = text.slice(end + 2);
        if (event.name) yield event;
      }
      if (text.length > EVENT_CHARACTERS_MAX) throw new Error('an event is too long');
    }
  }

  async #ask(method, path, options) {
    try {
      return await this.#send(method, path, options);
    } catch (problem) {
      if (problem.status === 401) this.onunauthorized();
      throw problem;
    }
  }

  async #send(method, path, { text, headers = {}, signal } = {}) {
    const all = { accept: 'application/json', ...headers };
    if (this.#token !== null) all.authorization = `Bearer ${this.#token}`;
    if (text !== undefined) all['content-type'] = 'application/json';
    const response = await fetch(path, { method, headers: all, body: text, signal, cache: 'no-store', credentials: 'omit' });
    if (response.ok) return response;
    const body = await response.json().catch(() => ({}));
    const type = String(body.type ?? '').split(':').pop();
    throw new Problem(response.status, type, body.detail ?? `the node answered with ${response.status}`);
  }
}

export function namespacePath(namespace) {
  return `/v1/namespaces/${encodeURIComponent(namespace)}`;
}

export function entityPath(namespace, id, part = '') {
  return `${namespacePath(namespace)}/entities/${encodeURIComponent(id)}${part}`;
}

async function bodyOf(response) {
  return parse(await response.text());
}

function eventOf(text) {
  const event = { name: '', id: '', data: '' };
  for (const row of text.split('\n')) {
    const colon = row.indexOf(':');
    if (colon <= 0) continue;
    const [field, value] = [row.slice(0, colon), row.slice(colon + 1).replace(/^ /, '')];
    if (field === 'event') event.name = value;
    if (field === 'id') event.id = value;
    if (field === 'data') event.data += (event.data && '\n') + value;
  }
  return event;
}
