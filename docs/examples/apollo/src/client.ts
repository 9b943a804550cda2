import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache } from '@apollo/client';
import { SetContextLink } from '@apollo/client/link/context';
import { ErrorLink } from '@apollo/client/link/error';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { relayStylePagination } from '@apollo/client/utilities';
import { OperationTypeNode } from 'graphql';
import { createClient as createSocket } from 'graphql-ws';
import { from, mergeMap, throwError } from 'rxjs';
import { accessToken, refreshSession, socketUrl, url } from './session';

const authorization = (token: string | undefined): Record<string, string> =>
  token ? { Authorization: `Bearer ${token}` } : {};

/** A client for one user. Make another one for the next user, so that no cached data is left. */
export function createClient(): ApolloClient {
  const authenticate = new SetContextLink(async () => {
    const token = await accessToken();
    return { token, headers: authorization(token) };
  });

  // accessToken() refreshes before the token expires; this link handles a token that was revoked, or a wrong clock.
  const retry = new ErrorLink(({ error, operation, forward }) => {
    const { token, retried } = operation.getContext() as { token?: string; retried?: boolean };
    const refused =
      CombinedGraphQLErrors.is(error) && error.errors.some((one) => one.extensions?.code === 'UNAUTHENTICATED');
    if (!refused || !token || retried) return;
    operation.setContext({ retried: true });
    return from(refreshSession(token)).pipe(
      mergeMap((renewed) => (renewed ? forward(operation) : throwError(() => error))),
    );
  });

  let connections = 0;
  const socket = createSocket({
    url: socketUrl,
    connectionParams: async () => authorization(await accessToken()), // called for each connection
    retryAttempts: Infinity,
    on: {
      // Changes are not sent while the socket is closed: fetch again what the page shows.
      connected: () => {
        connections += 1;
        if (connections > 1) void client.refetchQueries({ include: 'active' });
      },
    },
  });

  const client = new ApolloClient({
    link: ApolloLink.split(
      ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
      new GraphQLWsLink(socket),
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
