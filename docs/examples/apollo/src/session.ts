// The session of this browser: shared by all tabs, refreshed by one tab at a time.

import { useSyncExternalStore } from 'react';

type Session = { accessToken: string; refreshToken?: string | null | undefined; expiresAt: string };
type Answer = {
  data?: { refreshSession?: { session: Session } | null } | null;
  errors?: { message: string; extensions?: { code?: string } }[];
};

export const url = document.querySelector<HTMLMetaElement>('meta[name=howdah-url]')!.content;
export const socketUrl = url.replace(/^http/, 'ws');

const KEY = 'howdah.session';
const REFRESH = `mutation Refresh($input: RefreshSessionInput!) {
  refreshSession(input: $input) { session { accessToken refreshToken expiresAt } }
}`;

/** Keeps the tokens where all tabs find them. `userId` tells a tab that another user has signed in. */
type Stored = Session & { userId: string };

export function readSession(): Stored | null {
  return JSON.parse(localStorage.getItem(KEY) ?? 'null') as Stored | null;
}

export function writeSession(session: Stored | null): void {
  if (session) localStorage.setItem(KEY, JSON.stringify(session));
  else localStorage.removeItem(KEY);
  dispatchEvent(new Event('storage')); // browsers send this event to the other tabs only
}

/** The ID of the signed-in user. Null if nobody is signed in. */
export function useUserId(): string | null {
  return useSyncExternalStore(
    (changed) => {
      addEventListener('storage', changed);
      return () => removeEventListener('storage', changed);
    },
    () => readSession()?.userId ?? null,
  );
}

/**
 * An access token for the next request, or undefined if nobody is signed in. Pass the token that the server refused.
 *
 * A refresh token can be used once, so the lock lets one tab at a time refresh; a tab that waited finds the session that
 * the other tab has stored. Browsers pass changes of localStorage on with a delay: a tab that still reads the old
 * refresh token may send it again within 30 seconds, and gets the same new one.
 */
export async function accessToken(refused?: string): Promise<string | undefined> {
  const isUsable = ({ accessToken, expiresAt }: Session) =>
    accessToken !== refused && Date.parse(expiresAt) - Date.now() > 30_000;
  const session = readSession();
  if (!session || isUsable(session)) return session?.accessToken;
  return navigator.locks.request(KEY, async () => {
    const session = readSession();
    return !session || isUsable(session) ? session?.accessToken : refresh(session);
  });
}

async function refresh({ refreshToken, userId }: Stored): Promise<string | undefined> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query: REFRESH, variables: { input: { refreshToken } } }),
  });
  const { data, errors } = (await response.json()) as Answer;
  if (data?.refreshSession) {
    writeSession({ ...data.refreshSession.session, userId });
    return data.refreshSession.session.accessToken;
  }
  if (errors?.[0]?.extensions?.code !== 'UNAUTHENTICATED') throw new Error(errors?.[0]?.message);
  writeSession(null); // the session has ended: the page shows the sign-in form
  return undefined;
}
