import { StrictMode, Suspense, useMemo, useSyncExternalStore } from 'react';
import { createRoot } from 'react-dom/client';
import { graphql, RelayEnvironmentProvider, useLazyLoadQuery } from 'react-relay';
import type { mainSignInMutation } from './__generated__/mainSignInMutation.graphql';
import type { mainSignOutMutation } from './__generated__/mainSignOutMutation.graphql';
import type { mainViewerQuery } from './__generated__/mainViewerQuery.graphql';
import { createEnvironment } from './environment';
import { ErrorBoundary, ErrorNote, Field, useAction, valuesOf } from './parts';
import { readSession, useUserId, writeSession } from './session';
import { Storage } from './Storage';
import './style.css';
import { Tasks } from './Tasks';
import { Workbench } from './Workbench';

const PAGES = { tasks: Tasks, workbench: Workbench, storage: Storage };
type Page = keyof typeof PAGES;

function SignIn() {
  const [signIn, error] = useAction<mainSignInMutation>(graphql`
    mutation mainSignInMutation($input: SignInInput!) {
      signIn(input: $input) { session { accessToken refreshToken expiresIn } user { id } }
    }
  `);

  function submit(event: React.FormEvent<HTMLFormElement>) {
    const { email = '', password = '' } = valuesOf(event);
    signIn({
      variables: { input: { email, password } },
      onCompleted: ({ signIn }) => signIn && writeSession({ ...signIn.session, userId: signIn.user.id }),
    });
  }

  return (
    <main className="narrow">
      <h1>Sign in</h1>
      <form className="stack" onSubmit={submit}>
        <Field label="E-mail" name="email" type="email" autoComplete="username" />
        <Field label="Password" name="password" type="password" autoComplete="current-password" />
        <button>Sign in</button>
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
  const { viewer } = useLazyLoadQuery<mainViewerQuery>(graphql`query mainViewerQuery { viewer { name } }`, {});
  const [signOut] = useAction<mainSignOutMutation>(graphql`
    mutation mainSignOutMutation($input: SignOutInput!) { signOut(input: $input) { signedOut } }
  `);
  const Shown = PAGES[page];

  function leave() {
    const refreshToken = readSession()?.refreshToken;
    if (refreshToken) signOut({ variables: { input: { refreshToken } } });
    writeSession(null); // here at once, even if the server does not respond
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
        <span>{viewer?.name}</span>
        <button className="plain" onClick={leave}>Sign out</button>
      </header>
      <main>
        <ErrorBoundary key={page}>
          <Suspense fallback="Loading ...">
            <Shown />
          </Suspense>
        </ErrorBoundary>
      </main>
    </>
  );
}

function App() {
  const userId = useUserId();
  const environment = useMemo(() => createEnvironment(), [userId]);
  return (
    <RelayEnvironmentProvider environment={environment}>
      <ErrorBoundary key={userId}>
        <Suspense fallback="Loading ...">{userId ? <Shell /> : <SignIn />}</Suspense>
      </ErrorBoundary>
    </RelayEnvironmentProvider>
  );
}

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
