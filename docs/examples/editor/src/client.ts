// The urql client of one signed-in user: tokens in memory, HTTP, WebSocket.

import { Client, fetchExchange, subscriptionExchange } from '@urql/core';
import { createClient } from 'graphql-ws';
import { graphql } from './gql';

const API = document.querySelector<HTMLMetaElement>('meta[name=howdah-url]')?.content ?? '/graphql';
const EARLY_MS = 30_000; // before the token expires, because requests take time

const SignIn = graphql(`mutation SignIn($input: SignInInput!) {
  signIn(input: $input) { session { accessToken refreshToken expiresIn } }
}`);
const Refresh = graphql(`mutation Refresh($input: RefreshSessionInput!) {
  refreshSession(input: $input) { session { accessToken refreshToken expiresIn } }
}`);

const anonymous = new Client({ url: API, exchanges: [fetchExchange], preferGetMethod: false });
const renewalOf = ({ expiresIn }: { expiresIn: number }) => Date.now() + expiresIn * 1000 - EARLY_MS;

/** Throws what the server answered, if it refuses. */
export async function signIn(email: string, password: string) {
  const { data, error } = await anonymous.mutation(SignIn, { input: { email, password } }).toPromise();
  if (!data?.signIn) throw error;
  let { session } = data.signIn;
  let renewAt = renewalOf(session);
  async function authorization() {
    if (Date.now() > renewAt) {
      const { data } = await anonymous.mutation(Refresh, { input: { refreshToken: session.refreshToken } }).toPromise();
      session = data?.refreshSession?.session ?? session;
      if (data?.refreshSession) renewAt = renewalOf(session);
    }
    return { Authorization: `Bearer ${session.accessToken}` };
  }
  const socket = createClient({
    url: API.replace(/^http/, 'ws'),
    connectionParams: authorization, // called again after the server closed the socket, as the token has expired
    retryAttempts: Infinity,
    shouldRetry: () => true,
  });
  return new Client({
    url: API,
    preferGetMethod: false,
    fetch: async (input, init) => fetch(input, { ...init, headers: { ...init?.headers, ...(await authorization()) } }),
    exchanges: [
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query = '', variables }) => ({
          subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
        }),
      }),
    ],
  });
}
