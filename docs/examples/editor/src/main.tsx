// Sign in, choose a connection, and put the steps together.

import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { type Client, Provider, useMutation, useQuery } from 'urql';
import { signIn } from './client';
import { EditorField } from './editor-field';
import { graphql } from './gql';
import { Grid } from './grid';
import { fields, type Failure, Problem, type Target } from './parts';
import { PlanPanel } from './plan';
import { RunBar, useRun } from './run';
import { SavedQueries } from './saved';
import { Sidebar } from './sidebar';
import './style.css';
import { Transaction } from './transaction';

const Connections = graphql(`query Connections { connections(first: 100) { nodes { id name } } }`);
const TestConnection = graphql(`mutation TestConnection($input: TestConnectionInput!) {
  testConnection(input: $input) { ok error { message hint } }
}`);
const SaveConnection = graphql(`mutation SaveConnection($input: SaveConnectionInput!) {
  saveConnection(input: $input) { connection { id } }
}`);

function SignIn({ done }: { done: (client: Client) => void }) {
  const [error, setError] = useState<Failure>();
  const submit = (form: HTMLFormElement) => {
    const field = fields(form);
    signIn(field('email'), field('password')).then(done, setError);
  };
  return (
    <form className="card" onSubmit={(event) => (event.preventDefault(), submit(event.currentTarget))}>
      <label>E-mail <input name="email" type="email" autoComplete="username" required /></label>
      <label>Password <input name="password" type="password" autoComplete="current-password" required /></label>
      <button className="primary">Sign in</button>
      <Problem error={error} />
    </form>
  );
}

function ConnectionForm({ done }: { done: () => void }) {
  const [tested, test] = useMutation(TestConnection);
  const [saved, save] = useMutation(SaveConnection);
  async function submit(form: HTMLFormElement) {
    const field = fields(form);
    const names = ['name', 'host', 'database', 'username', 'password'];
    const input = { ...Object.fromEntries(names.map((name) => [name, field(name)])), port: Number(field('port')) };
    if (!(await test({ input })).data?.testConnection?.ok) return; // what does not work is not saved
    const { data } = await save({ input: { ...input, savePassword: true, idempotencyKey: crypto.randomUUID() } });
    if (data?.saveConnection) done();
  }
  return (
    <form className="card" onSubmit={(event) => (event.preventDefault(), submit(event.currentTarget))}>
      <label>Name <input name="name" required defaultValue="My database" /></label>
      <label>Host <input name="host" required defaultValue="localhost" /></label>
      <label>Port <input name="port" type="number" required defaultValue={5432} /></label>
      <label>Database <input name="database" required defaultValue="postgres" /></label>
      <label>User <input name="username" required autoComplete="off" /></label>
      <label>Password <input name="password" type="password" autoComplete="off" /></label>
      <button className="primary" disabled={tested.fetching || saved.fetching}>Connect</button>
      <Problem error={tested.error ?? tested.data?.testConnection?.error ?? saved.error} />
    </form>
  );
}

function Editor({ connectionId }: { connectionId: string }) {
  const [text, setText] = useState('');
  const [target, setTarget] = useState<Target>({ connectionId });
  const running = useRun(target);
  const { run } = running;
  return (
    <div className="editor">
      <Sidebar connectionId={connectionId} append={(name) => setText((before) => before + name)} />
      <main>
        <SavedQueries connectionId={connectionId} text={text} open={setText} />
        <EditorField connectionId={connectionId} text={text} setText={setText} />
        <div className="tools">
          <RunBar {...running} start={() => running.start(text)} />
          <PlanPanel key={text} target={target} statement={text} />
          <Transaction connectionId={connectionId} setTarget={setTarget} />
        </div>
        {run?.columns && <Grid key={run.id} run={run} target={target} />}
      </main>
    </div>
  );
}

function Connected() {
  const [{ data, error }, fetchAgain] = useQuery({ query: Connections });
  const [chosen, setChosen] = useState<string>();
  const connections = data?.connections?.nodes ?? [];
  const id = chosen ?? connections[0]?.id;
  if (error) return <Problem error={error} />;
  if (!data) return null;
  if (!id) return <ConnectionForm done={() => fetchAgain({ requestPolicy: 'network-only' })} />;
  return (
    <>
      <header>
        <strong>SQL editor</strong>
        <select aria-label="Connection" value={id} onChange={(event) => setChosen(event.target.value)}>
          {connections.map(({ id, name }) => <option key={id} value={id}>{name}</option>)}
        </select>
      </header>
      <Editor key={id} connectionId={id} />
    </>
  );
}

function App() {
  const [client, setClient] = useState<Client>();
  return client ? <Provider value={client}><Connected /></Provider> : <SignIn done={setClient} />;
}

createRoot(document.getElementById('root')!).render(<StrictMode><App /></StrictMode>);
