import { ApolloProvider, useMutation, useQuery } from '@apollo/client/react';
import { StrictMode, useMemo, useSyncExternalStore } from 'react';
import { createRoot } from 'react-dom/client';
import { createClient } from './client';
import { graphql } from './graphql';
import { ErrorNote, Field, valuesOf } from './parts';
import { readSession, useUserId, writeSession } from './session';
import { Storage } from './Storage';
import './style.css';
import { Tasks } from './Tasks';
import { Workbench } from './Workbench';

const SIGN_IN = graphql(`
  mutation SignIn($input: SignInInput!) {
    signIn(input: $input) { session { accessToken refreshToken expiresIn } user { id } }
  }
`);
const SIGN_OUT = graphql(`
  mutation SignOut($input: SignOutInput!) { signOut(input: $input) { signedOut } }
`);
const VIEWER = graphql(`query Viewer { viewer { id name } }`);

const PAGES = { tasks: Tasks, workbench: Workbench, storage: Storage };
type Page = keyof typeof PAGES;

function SignIn() {
  const [signIn, { error, loading }] = useMutation(SIGN_IN);

  async function submit(event: React.FormEvent<HTMLFormElement>) {
    const { email = '', password = '' } = valuesOf(event);
    const payload = (await signIn({ variables: { input: { email, password } } })).data?.signIn;
    if (payload) writeSession({ ...payload.session, userId: payload.user.id });
  }

  return (
    <main className="narrow">
      <h1>Sign in</h1>
      <form className="stack" onSubmit={(event) => void submit(event).catch(() => {})}>
        <Field label="E-mail" name="email" type="email" autoComplete="username" />
        <Field label="Password" name="password" type="password" autoComplete="current-password" />
        <button disabled={loading}>Sign in</button>
      </form>
      <ErrorNote error={error} />
    </main>
  );
}

/** The page that the fragment of the address names. */
function usePage(): Page {
  const hash = useSyncExternalStore(
    (changed) => {
      addEventListener('hashchange', changed);
      return () => removeEventListener('hashchange', changed);
    },
    () => location.hash.slice(1),
  );
  return hash in PAGES ? (hash as Page) : 'tasks';
}

function Shell() {
  const page = usePage();
  const { data } = useQuery(VIEWER);
  const [signOut] = useMutation(SIGN_OUT);
  const Shown = PAGES[page];

  async function leave() {
    // Ends the session here even if the server does not respond.
    const refreshToken = readSession()?.refreshToken;
    if (refreshToken) await signOut({ variables: { input: { refreshToken } } }).catch(() => {});
    writeSession(null);
  }

  return (
    <>
      <header>
        <nav>
          {Object.keys(PAGES).map((name) => (
            <a key={name} href={`#${name}`} aria-current={name === page ? 'page' : undefined}>
              {name}
            </a>
          ))}
        </nav>
        <span>{data?.viewer?.name}</span>
        <button className="plain" onClick={() => void leave()}>Sign out</button>
      </header>
      <main>
        <Shown />
      </main>
    </>
  );
}

function App() {
  const userId = useUserId();
  const client = useMemo(() => createClient(), [userId]);
  return <ApolloProvider client={client}>{userId ? <Shell key={userId} /> : <SignIn />}</ApolloProvider>;
}

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
