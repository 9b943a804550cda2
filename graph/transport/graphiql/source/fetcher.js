// Sends operations: over HTTP, and subscriptions over WebSocket. An operation has the Authorization
// of the Headers tab, else that of the tab's session, which is renewed when the server refuses it.

import { parse } from 'graphql';
import { createClient } from 'graphql-ws';

import { hasAuthorization, isUnauthenticated, post } from './request';

const REFUSED = 4403; // the server closes a socket with this code when its token has expired or is wrong

export function createFetcher({ endpoint, session, onData }) {
  const socketUrl = new URL(endpoint);
  socketUrl.protocol = endpoint.protocol === 'https:' ? 'wss:' : 'ws:';

  return async (operation, { headers = {} } = {}) => {
    const document = parsed(operation.query);
    const own = hasAuthorization(headers);
    const credentials = () =>
      own || !session.authorization ? headers : { ...headers, Authorization: session.authorization };
    const canRenew = () => !own && session.authorization !== undefined;
    if (!own) await session.renewIfDue();
    if (isSubscription(document, operation.operationName)) {
      return new Events({ socketUrl, session, operation, credentials, canRenew, own });
    }
    let result = await post(endpoint, operation, credentials());
    if (isUnauthenticated(result.errors) && canRenew() && (await session.renew())) {
      result = await post(endpoint, operation, credentials());
    }
    if (isUnauthenticated(result.errors) && own) session.notify(OWN_TOKEN_REFUSED);
    if (result.data) onData(result.data, document);
    return result;
  };
}

const OWN_TOKEN_REFUSED =
  'The server refuses the token in the Headers tab, perhaps because it has expired. ' +
  'Paste another, or remove it to use the session of this browser tab.';

/** The events of a subscription, as the async iterator that GraphiQL reads. It goes on with a renewed token. */
class Events {
  #options;
  #events;
  #refusal; // the close event of a refused socket, until the next one is accepted

  constructor(options) {
    this.#options = options;
    const { socketUrl, operation, canRenew } = options;
    const client = createClient({
      url: socketUrl.href,
      connectionParams: () => this.#connectionParams(),
      shouldRetry: (event) => event instanceof CloseEvent && (event.code !== REFUSED || canRenew()),
      retryWait: (retries) => new Promise((resolve) => setTimeout(resolve, retries * 2000)),
      on: {
        connected: () => (this.#refusal = undefined),
        closed: (event) => {
          if (event.code === REFUSED) this.#refusal = event;
        },
      },
    });
    this.#events = client.iterate(operation);
  }

  async #connectionParams() {
    const { session, credentials } = this.#options;
    if (this.#refusal && !(await session.renew())) throw new Error(this.#refusal.reason);
    return credentials();
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  async next() {
    try {
      return await this.#events.next();
    } catch (error) {
      if (!this.#refusal) throw readable(error);
      const { own, session } = this.#options;
      const advice = own ? OWN_TOKEN_REFUSED : (session.notice ?? '');
      session.notify(`The subscription has ended: ${this.#refusal.reason} ${advice}`);
      throw readable(this.#refusal);
    }
  }

  return() {
    return this.#events.return();
  }
}

/** Not the AST that GraphiQL passes: it is that of a moment ago while the user writes. */
function parsed(query) {
  try {
    return parse(query);
  } catch {
    return { kind: 'Document', definitions: [] }; // the server says what is wrong with it
  }
}

function isSubscription(document, operationName) {
  return document.definitions.some(
    ({ kind, operation, name }) =>
      kind === 'OperationDefinition' &&
      operation === 'subscription' &&
      (!operationName || name?.value === operationName),
  );
}

/** What GraphiQL can show: a close event has no message. */
function readable(error) {
  if (!(error instanceof CloseEvent)) return error;
  return [
    {
      message: error.reason || 'The connection to the server was lost.',
      extensions: { code: `WebSocket close code ${error.code}`, hint: 'Run the subscription again.' },
    },
  ];
}
