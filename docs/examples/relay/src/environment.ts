import { createClient } from 'graphql-ws';
import { Environment, Network, Observable, RecordSource, Store } from 'relay-runtime';
import type { FetchFunction, GraphQLSingularResponse, SubscribeFunction, Variables } from 'relay-runtime';
import { accessToken, readSession, socketUrl, url } from './session';

type Failure = { message: string; extensions?: { code?: string; hint?: string } };
type Answer = { data?: unknown; errors?: Failure[] };

/** The errors of a response: each has a message, which says what happened, and a hint, which says what to do. */
export class HowdahError extends Error {
  constructor(readonly errors: readonly Failure[]) {
    super(errors[0]?.message);
  }
}

const authorization = (token: string | undefined): Record<string, string> =>
  token ? { Authorization: `Bearer ${token}` } : {};

const isRefused = (errors: readonly Failure[] | undefined) =>
  Boolean(errors?.some(({ extensions }) => extensions?.code === 'UNAUTHENTICATED'));

async function post(query: string | null, variables: Variables, token: string | undefined): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...authorization(token) },
    body: JSON.stringify({ query, variables }),
  });
  return (await response.json()) as Answer;
}

// accessToken() refreshes before the token expires; the retry handles a token that was revoked, or a wrong clock.
const fetchQuery: FetchFunction = async ({ text }, variables) => {
  const token = await accessToken();
  let answer = await post(text, variables, token);
  if (token && isRefused(answer.errors)) {
    const renewed = await accessToken(token);
    if (renewed) answer = await post(text, variables, renewed);
  }
  // Relay ignores errors beside data. A page that shows partial data returns the answer here and uses `@catch`.
  if (answer.errors) throw new HowdahError(answer.errors);
  return answer as GraphQLSingularResponse;
};

/** An environment for one user. Make another one for the next user, so that no cached data is left. */
export function createEnvironment(): Environment {
  let sent: string | undefined;
  let refused: string | undefined;
  const socket = createClient({
    url: socketUrl,
    connectionParams: async () => authorization((sent = await accessToken(refused))), // called for each connection
    retryAttempts: Infinity,
    on: {
      connected: () => dispatchEvent(new Event('howdah.connected')),
      closed: (event) => {
        if ((event as CloseEvent).code === 4403) refused = sent;
      },
    },
  });

  const subscribe: SubscribeFunction = ({ text }, variables) =>
    Observable.create((sink) => {
      let stop: () => void;
      const start = () => {
        stop = socket.subscribe<Record<string, unknown>>(
          { query: text!, variables },
          {
            next: ({ data, errors }) =>
              data && !errors ? sink.next({ data }) : sink.error(new HowdahError((errors ?? []) as Failure[])),
            error: (error) => {
              if (!Array.isArray(error)) return sink.error(new Error('The socket closed.'));
              // It ends when its token expires. graphql-ws does not start it again, because it ended with an error.
              if (isRefused(error as Failure[]) && readSession()) start();
              else sink.error(new HowdahError(error as Failure[]));
            },
            complete: () => sink.complete(),
          },
        );
      };
      start();
      return () => stop();
    });

  return new Environment({
    network: Network.create(fetchQuery, subscribe),
    store: new Store(new RecordSource()),
  });
}
