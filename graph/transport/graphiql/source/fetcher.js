// Sends operations: over HTTP, and subscriptions over WebSocket. An operation has the Authorization
// of the Headers tab, else that of the tab's session, which is renewed when the server refuses it.

import { parse } from 'graphql';
import { createClient } from 'graphql-ws';

const REFUSED = new Set([4401, 4403]); // close codes of a socket

export function createFetcher({ endpoint, session, onData }) {
  const socketUrl = new URL(endpoint);
  socketUrl.protocol = endpoint.protocol === 'https:' ? 'wss:' : 'ws:';

  return async (operation, { headers = {} } = {}) => {
    const document = parsed(operation.query);
    const own = Object.keys(headers).some((name) => name.toLowerCase() === 'authorization');
    const credentials = () =>
      own || !session.authorization ? headers : { ...headers, Authorization: session.authorization };
    const renew = () => !own && session.authorization !== undefined && session.renew();
    if (!own) await session.renewIfDue();
    if (isSubscription(document, operation.operationName)) {
      return new Events({ socketUrl, session, operation, credentials, renew, own });
    }
    let result = await post(endpoint, operation, credentials());
    if (isUnauthenticated(result.errors) && (await renew())) {
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

async function post(endpoint, operation, headers) {
  const answer = await fetch(endpoint, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'application/json', ...headers },
    body: JSON.stringify(operation),
  });
  return answer.json();
}

/** The events of a subscription, as the async iterator that GraphiQL reads. */
class Events {
  #options;
  #events;
  #isAcknowledged = false;

  constructor(options) {
    this.#options = options;
    this.#open();
  }

  #open() {
    const { socketUrl, operation, credentials } = this.#options;
    const client = createClient({
      url: socketUrl.href,
      connectionParams: credentials,
      on: { connected: () => (this.#isAcknowledged = true) },
    });
    this.#events = client.iterate(operation);
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  async next() {
    try {
      return await this.#events.next();
    } catch (error) {
      if (!isRefusal(error)) throw readable(error);
      const { renew, own, session } = this.#options;
      const isRenewed = await renew();
      if (isRenewed && !this.#isAcknowledged) {
        this.#open(); // no event has been missed
        return this.next();
      }
      if (isRenewed) session.notify(`${ended(error)} This tab has a new session: run it again.`);
      else if (own) session.notify(`${ended(error)} ${OWN_TOKEN_REFUSED}`);
      else session.notify(`${ended(error)} ${session.notice ?? ''}`);
      throw readable(error);
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

function isUnauthenticated(errors) {
  return errors?.some((error) => error.extensions?.code === 'UNAUTHENTICATED') ?? false;
}

/** A socket is closed with a code; a subscription on it ends with errors before. */
function isRefusal(error) {
  return REFUSED.has(error.code) || (Array.isArray(error) && isUnauthenticated(error));
}

function ended(error) {
  return `The subscription has ended: ${Array.isArray(error) ? error[0].message : error.reason}`;
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
