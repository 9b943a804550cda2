// Signs this browser tab in with the one-time link of the terminal (graph/transport/sign_in.py).
//
// The code of the link is in the fragment of the URL, which a browser sends to no server.
// The token stays in sessionStorage: another tab has none, and closing this one forgets it.

const KEY = 'howdah:sign-in';
const FRAGMENT = '#sign-in=';

/** The access token of this tab, if it has one, and what went wrong with a link. */
export async function signIn(endpoint) {
  // A link that is pasted into an open tab changes the fragment only.
  addEventListener('hashchange', () => location.hash.startsWith(FRAGMENT) && location.reload());
  const problem = location.hash.startsWith(FRAGMENT) ? await exchange(endpoint) : undefined;
  return { accessToken: storedToken(), problem };
}

async function exchange(endpoint) {
  const code = location.hash.slice(FRAGMENT.length);
  history.replaceState(null, '', location.pathname + location.search); // out of the history
  try {
    const answer = await fetch(`${endpoint.origin}${endpoint.pathname}/sign-in`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ code }),
    });
    const { accessToken, expiresIn, errors } = await answer.json();
    if (errors) return `${errors[0].message} ${errors[0].extensions.hint}`;
    const expiresAt = Date.now() + expiresIn * 1000;
    sessionStorage.setItem(KEY, JSON.stringify({ accessToken, expiresAt }));
  } catch (error) {
    return `The server did not answer the sign-in (${error.message}). Open the link again.`;
  }
}

function storedToken() {
  const { accessToken, expiresAt } = JSON.parse(sessionStorage.getItem(KEY) ?? '{}');
  if (expiresAt > Date.now()) return accessToken;
  sessionStorage.removeItem(KEY);
}
