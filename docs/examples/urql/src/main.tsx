import { StrictMode, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { type CombinedError, Provider } from 'urql';
import { makeClient } from './client';
import { fields, Problem } from './parts';
import { signIn, signOut, signUp, useSession } from './session';
import { StoragePage } from './storage';
import './style.css';
import { TasksPage } from './tasks';
import { WorkbenchPage } from './workbench';

const PAGES = { tasks: TasksPage, workbench: WorkbenchPage, storage: StoragePage };
type PageName = keyof typeof PAGES;

function currentPage(): PageName {
  const name = window.location.hash.slice(1);
  return name in PAGES ? (name as PageName) : 'tasks';
}

function SignInPage() {
  const [isNew, setIsNew] = useState(false);
  const [error, setError] = useState<CombinedError>();
  async function submit(form: HTMLFormElement) {
    const field = fields(form);
    const [email, password] = [field('email'), field('password')];
    setError(await (isNew ? signUp(field('name'), email, password) : signIn(email, password)));
  }
  return (
    <main className="narrow">
      <h1>Howdah</h1>
      <form className="card" onSubmit={(event) => (event.preventDefault(), submit(event.currentTarget))}>
        {isNew && <label>Name <input name="name" required autoComplete="name" /></label>}
        <label>E-mail <input name="email" type="email" required autoComplete="username" /></label>
        <label>
          Password
          <input name="password" type="password" required autoComplete={isNew ? 'new-password' : 'current-password'} />
        </label>
        <Problem error={error} />
        <button className="primary">{isNew ? 'Sign up' : 'Sign in'}</button>
        <button type="button" className="link" onClick={() => setIsNew(!isNew)}>
          {isNew ? 'I have an account' : 'Create an account'}
        </button>
      </form>
    </main>
  );
}

/** Everything of one user: another user gets another client, and so an empty cache. */
function SignedIn({ name }: { name: string }) {
  const [client] = useState(makeClient);
  const [page, setPage] = useState(currentPage);
  useEffect(() => {
    const follow = () => setPage(currentPage());
    window.addEventListener('hashchange', follow);
    return () => window.removeEventListener('hashchange', follow);
  }, []);
  const Page = PAGES[page];
  return (
    <Provider value={client}>
      <header>
        <strong>Howdah</strong>
        <nav>
          {Object.keys(PAGES).map((one) => (
            <a key={one} href={`#${one}`} aria-current={one === page ? 'page' : undefined}>{one}</a>
          ))}
        </nav>
        <span>{name}</span>
        <button onClick={signOut}>Sign out</button>
      </header>
      <main><Page /></main>
    </Provider>
  );
}

function App() {
  const session = useSession();
  return session ? <SignedIn key={session.user.id} name={session.user.name} /> : <SignInPage />;
}

createRoot(document.getElementById('root')!).render(<StrictMode><App /></StrictMode>);
