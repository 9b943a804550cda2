// The session of this browser tab, opened with the one-time link of the terminal and renewed by the
// page (graph/transport/sign_in.py).
//
// The code of the link is in the fragment of the URL, which a browser sends to no server.
// The token stays in sessionStorage: another tab has none, and closing this one forgets it.

const KEY = 'howdah:sign-in';
const FRAGMENT = '#sign-in=';
const CHECK_MS = 60_000;

export class Session {
  #url;
  #renewal; // the request that runs, so that operations at the same time share one
  #listeners = new Set();

  /** What the user should know about the session: a line of text, or undefined. */
  notice;

  constructor(endpoint) {
    this.#url = `${endpoint.origin}${endpoint.pathname}/sign-in`;
  }

  /** Uses up the link of the address, if there is one, and keeps the session alive from now on. */
  async open() {
    // A link that is pasted into an open tab changes the fragment only.
    addEventListener('hashchange', () => location.hash.startsWith(FRAGMENT) && location.reload());
    if (location.hash.startsWith(FRAGMENT)) {
      const code = location.hash.slice(FRAGMENT.length);
      history.replaceState(null, '', location.pathname + location.search); // out of the history
      await this.#obtain(this.#url, { body: JSON.stringify({ code }) });
    }
    setInterval(() => this.renewIfDue(), CHECK_MS);
    // Timers stand still while the machine sleeps.
    addEventListener('visibilitychange', () => document.hidden || this.renewIfDue());
  }

  get authorization() {
    const { accessToken } = stored();
    return accessToken && `Bearer ${accessToken}`;
  }

  /** Renews the token once half of its time has passed. */
  async renewIfDue() {
    const { renewAt } = stored();
    if (renewAt < Date.now()) await this.renew();
  }

  /** Returns true if the tab has a new token. */
  renew() {
    this.#renewal ??= this.#obtain(`${this.#url}/renew`, {
      headers: { Authorization: this.authorization },
    }).finally(() => (this.#renewal = undefined));
    return this.#renewal;
  }

  async #obtain(url, { headers, body }) {
    let answer;
    try {
      answer = await fetch(url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...headers },
        body,
      });
    } catch (error) {
      // The operation that needs the token says so too.
      if (body) this.notify(`The server does not answer (${error.message}). Open the link again.`);
      return false;
    }
    const { accessToken, expiresIn, errors } = await answer.json();
    if (errors) {
      this.notify(`${errors[0].message} ${errors[0].extensions.hint}`);
      if (answer.status === 401) sessionStorage.removeItem(KEY);
      return false;
    }
    const renewAt = Date.now() + (expiresIn / 2) * 1000;
    sessionStorage.setItem(KEY, JSON.stringify({ accessToken, renewAt }));
    this.notify(undefined);
    return true;
  }

  notify(notice) {
    this.notice = notice;
    for (const listener of this.#listeners) listener();
  }

  /** For React's useSyncExternalStore. */
  subscribe = (listener) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };
}

function stored() {
  return JSON.parse(sessionStorage.getItem(KEY) ?? '{}');
}
