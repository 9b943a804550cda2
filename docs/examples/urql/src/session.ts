// The session of this browser: one set of tokens in localStorage, which all its tabs share.

import { Client, type CombinedError, fetchExchange } from '@urql/core';
import { useMemo, useSyncExternalStore } from 'react';
import { graphql } from './gql';
import type { RefreshMutation } from './gql/graphql';

export const API = document.querySelector<HTMLMetaElement>('meta[name=howdah-url]')?.content ?? '/graphql';

graphql(`fragment Tokens on Session { accessToken refreshToken expiresAt }`);
const SignIn = graphql(`mutation SignIn($input: SignInInput!) {
  signIn(input: $input) { session { ...Tokens } user { id name } }
}`);
const SignUp = graphql(`mutation SignUp($input: SignUpInput!) {
  signUp(input: $input) { session { ...Tokens } user { id name } }
}`);
const Refresh = graphql(`mutation Refresh($input: RefreshSessionInput!) {
  refreshSession(input: $input) { session { ...Tokens } user { id name } }
}`);
const SignOut = graphql(`mutation SignOut($input: SignOutInput!) { signOut(input: $input) { signedOut } }`);

type SignedIn = NonNullable<RefreshMutation['refreshSession']>;

const KEY = 'howdah:session';
const listeners = new Set<() => void>();
const notify = () => listeners.forEach((listener) => listener());
window.addEventListener('storage', notify); // another tab signed in, refreshed its token or signed out

const stored = () => localStorage.getItem(KEY);
const parse = (text: string | null) => (text ? (JSON.parse(text) as SignedIn) : null);
export const currentSession = () => parse(stored());

function store(signedIn: SignedIn | null) {
  if (signedIn) localStorage.setItem(KEY, JSON.stringify(signedIn));
  else localStorage.removeItem(KEY);
  notify();
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useSession() {
  const text = useSyncExternalStore(subscribe, stored);
  return useMemo(() => parse(text), [text]);
}

const anonymous = new Client({ url: API, exchanges: [fetchExchange], preferGetMethod: false });

export async function signIn(email: string, password: string) {
  const { data, error } = await anonymous.mutation(SignIn, { input: { email, password } }).toPromise();
  if (data?.signIn) store(data.signIn);
  return error;
}

export async function signUp(name: string, email: string, password: string) {
  const { data, error } = await anonymous.mutation(SignUp, { input: { name, email, password } }).toPromise();
  if (data?.signUp) store(data.signUp);
  return error;
}

export async function signOut() {
  await freshToken().catch(() => null); // signOut needs a valid access token; without the network it cannot be had
  const session = currentSession()?.session;
  store(null);
  if (!session) return;
  const { accessToken, refreshToken } = session;
  const fetchOptions = { headers: { Authorization: `Bearer ${accessToken}` } };
  await anonymous.mutation(SignOut, { input: { refreshToken } }, { fetchOptions }).toPromise();
}

export const codeOf = (error: CombinedError | undefined) => error?.graphQLErrors[0]?.extensions['code'];

let refreshing: Promise<void> | null = null;

/** One request at a time. Two tabs may send it at once: the server then gives both the same refresh token. */
export function refresh() {
  refreshing ??= renew().finally(() => (refreshing = null));
  return refreshing;
}

async function renew() {
  const before = currentSession();
  if (!before) return;
  const { refreshToken } = before.session;
  const { data, error } = await anonymous.mutation(Refresh, { input: { refreshToken } }).toPromise();
  if (!currentSession()) return; // signed out in the meantime
  if (data?.refreshSession) store(data.refreshSession);
  else if (codeOf(error) === 'UNAUTHENTICATED') store(null);
  else throw error; // the server was not reached: the session may still be good
}

export function expiresSoon() {
  const session = currentSession()?.session;
  return session !== undefined && Date.parse(session.expiresAt) - Date.now() < 5_000;
}

export async function freshToken(rejected = false) {
  if (rejected || expiresSoon()) await refresh();
  return currentSession()?.session.accessToken;
}
