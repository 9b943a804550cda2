// The session of this browser tab, opened with the one-time link of the terminal and renewed by the
// page (graph/transport/routes/sign_in.py).
//
// The code of the link is in the fragment of the URL, which a browser sends to no server.
// The token stays in sessionStorage: another tab has none, and closing this one forgets it.

import { post } from './request';

const KEY = 'howdah:sign-in';
const FRAGMENT = '#sign-in=';
const CHECK_MS = 60_000;
const WHO = '{ viewer { email } }';
const SESSIONS = '{ mySessions(first: 1000) { nodes { id current } } }';
const END = 'mutation ($id: ID!) { endSession(input: {id: $id}) { endedSessionId } }';

export class Session {
  #endpoint;
  #url;
  #renewal; // the request that runs, so that operations at the same time share one
  #listeners = new Set();

  /** What the user should know about the session: a line of text, or undefined. */
  notice;

  /** E-mail address of the signed-in user, or undefined. */
  user;

  constructor(endpoint) {
    this.#endpoint = endpoint;
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
    this.renewIfDue();
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
    const { accessToken, renewAt } = stored();
    if (renewAt < Date.now()) await this.renew();
    else if (accessToken && !this.user) this.#identify();
  }

  /** Returns true if the tab has a new token. */
  renew() {
    this.#renewal ??= this.#obtain(`${this.#url}/renew`, {
      headers: { Authorization: this.authorization },
    }).finally(() => (this.#renewal = undefined));
    return this.#renewal;
  }

  /** Forgets the token, and ends the session at the server: copies of this browser tab have it too. */
  async signOut() {
    await this.renewIfDue();
    const reason = await this.#end();
    this.#forget();
    this.notify(
      reason &&
        `You are signed out here, but the server has not ended the session (${reason}). ` +
          'It ends after 7 days; the mutation endSession ends it before, from another session.',
    );
  }

  /** Returns why the session could not be ended, or undefined. */
  async #end() {
    try {
      const { data, errors } = await this.#ask(SESSIONS);
      if (!data?.mySessions) return errors[0].message;
      const id = data.mySessions.nodes.find(({ current }) => current)?.id;
      return (await this.#ask(END, { id })).errors?.[0].message;
    } catch (error) {
      return error.message;
    }
  }

  /** Asks who is signed in. */
  async #identify() {
    let answer;
    try {
      answer = await this.#ask(WHO);
    } catch {
      return; // the operations of the user say that the server does not answer
    }
    this.user = answer.data?.viewer?.email;
    this.notify(this.notice);
  }

  #ask(query, variables) {
    return post(this.#endpoint, { query, variables }, { Authorization: this.authorization });
  }

  #forget() {
    sessionStorage.removeItem(KEY);
    this.user = undefined;
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
      if (answer.status === 401) this.#forget();
      this.notify(`${errors[0].message} ${errors[0].extensions.hint}`);
      return false;
    }
    const renewAt = Date.now() + (expiresIn / 2) * 1000;
    sessionStorage.setItem(KEY, JSON.stringify({ accessToken, renewAt }));
    this.notify(undefined);
    if (!this.user) this.#identify();
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
