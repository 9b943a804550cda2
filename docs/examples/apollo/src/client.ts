import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache } from '@apollo/client';
import { SetContextLink } from '@apollo/client/link/context';
import { ErrorLink } from '@apollo/client/link/error';
import { RetryLink } from '@apollo/client/link/retry';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { relayStylePagination } from '@apollo/client/utilities';
import { OperationTypeNode } from 'graphql';
import { createClient as createSocket } from 'graphql-ws';
import { from, mergeMap, throwError } from 'rxjs';
import { accessToken, socketUrl, url } from './session';

const authorization = (token: string | undefined): Record<string, string> =>
  token ? { Authorization: `Bearer ${token}` } : {};

const isRefused = (error: unknown) =>
  CombinedGraphQLErrors.is(error) && error.errors.some(({ extensions }) => extensions?.code === 'UNAUTHENTICATED');

/** A client for one user. Make another one for the next user, so that no cached data is left. */
export function createClient(): ApolloClient {
  const authenticate = new SetContextLink(async () => {
    const token = await accessToken();
    return { token, headers: authorization(token) };
  });

  // accessToken() refreshes before the token expires; this link handles a token that was revoked, or a wrong clock.
  const retry = new ErrorLink(({ error, operation, forward }) => {
    const { token } = operation.getContext() as { token?: string };
    if (!isRefused(error) || !token) return;
    return from(accessToken(token)).pipe(
      mergeMap((renewed) => (renewed ? forward(operation) : throwError(() => error))),
    );
  });

  let sent: string | undefined;
  let refused: string | undefined;
  const socket = createSocket({
    url: socketUrl,
    connectionParams: async () => authorization((sent = await accessToken(refused))), // called for each connection
    retryAttempts: Infinity,
    on: {
      // Changes are not sent while the socket is closed: fetch again what the page shows, also after the first start.
      connected: () => void client.refetchQueries({ include: 'active' }),
      closed: (event) => {
        if ((event as CloseEvent).code === 4403) refused = sent;
      },
    },
  });
  // A subscription ends when its token expires. graphql-ws does not start it again, because it ended with an error.
  const resubscribe = new RetryLink({ delay: () => 100, attempts: (_count, _operation, error) => isRefused(error) });

  const client = new ApolloClient({
    link: ApolloLink.split(
      ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
      ApolloLink.from([resubscribe, new GraphQLWsLink(socket)]),
      ApolloLink.from([retry, authenticate, new HttpLink({ uri: url })]),
    ),
    cache: new InMemoryCache({
      typePolicies: {
        Query: { fields: { tasks: relayStylePagination(['filter', 'orderBy']) } },
        Bucket: { fields: { files: relayStylePagination(['under']) } },
        DatabaseSchema: { fields: { tables: relayStylePagination() } },
      },
    }),
  });
  return client;
}
