// The urql client of one signed-in user: tokens in memory, HTTP, WebSocket.

import { Client, fetchExchange, subscriptionExchange } from '@urql/core';
import { authExchange } from '@urql/exchange-auth';
import { createClient } from 'graphql-ws';
import { graphql } from './gql';

const API = document.querySelector<HTMLMetaElement>('meta[name=howdah-url]')?.content ?? '/graphql';

const SignIn = graphql(`mutation SignIn($input: SignInInput!) {
  signIn(input: $input) { session { accessToken refreshToken } }
}`);
const Refresh = graphql(`mutation Refresh($input: RefreshSessionInput!) {
  refreshSession(input: $input) { session { accessToken refreshToken } }
}`);

const anonymous = new Client({ url: API, exchanges: [fetchExchange], preferGetMethod: false });

/** Throws what the server answered, if it refuses. */
export async function signIn(email: string, password: string) {
  const { data, error } = await anonymous.mutation(SignIn, { input: { email, password } }).toPromise();
  if (!data?.signIn) throw error;
  let { session } = data.signIn;
  const refresh = async () => {
    const { data } = await anonymous.mutation(Refresh, { input: { refreshToken: session.refreshToken } }).toPromise();
    if (data?.refreshSession) session = data.refreshSession.session;
  };
  let rejected = false;
  const socket = createClient({
    url: API.replace(/^http/, 'ws'),
    retryAttempts: Infinity,
    shouldRetry: () => true,
    connectionParams: async () => {
      if (rejected) await refresh();
      return { Authorization: `Bearer ${session.accessToken}` };
    },
    on: {
      connected: () => (rejected = false),
      closed: (event) => (rejected = event instanceof CloseEvent && event.code === 4403), // the token has expired
    },
  });
  return new Client({
    url: API,
    preferGetMethod: false,
    exchanges: [
      authExchange(async ({ appendHeaders }) => ({
        addAuthToOperation: (operation) =>
          appendHeaders(operation, { Authorization: `Bearer ${session.accessToken}` }),
        didAuthError: (error) => error.graphQLErrors[0]?.extensions['code'] === 'UNAUTHENTICATED',
        refreshAuth: refresh,
      })),
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query = '', variables }) => ({
          subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
        }),
      }),
    ],
  });
}
