// The workbench: save and open a connection, look around, run SQL, follow and cancel it, read the rows.

import { useState } from 'react';
import { useClient, useMutation, useQuery, useSubscription } from 'urql';
import { graphql } from './gql';
import type { RunStatusFragment } from './gql/graphql';
import { Grid } from './grid';
import { download, FRESH, fields, Problem } from './parts';
import { SchemaTree } from './tree';

const Connections = graphql(`query Connections {
  connections(first: 100) { nodes { id name host port database isConnected } }
}`);
const TestConnection = graphql(`mutation TestConnection($input: TestConnectionInput!) {
  testConnection(input: $input) { ok error { message hint field } }
}`);
const SaveConnection = graphql(`mutation SaveConnection($input: SaveConnectionInput!) {
  saveConnection(input: $input) { connection { id name host port database isConnected } }
}`);
const Connect = graphql(`mutation Connect($input: ConnectInput!) {
  connect(input: $input) { connection { id isConnected } activeConnection { serverVersion } }
}`);
graphql(`fragment RunStatus on QueryRun {
  id state statement rowCount elapsedMs command rowsAffected
  columns { name type }
  truncated { reason limit }
  error { message hint detail position line column }
}`);
const Execute = graphql(`mutation Execute($input: ExecuteQueryInput!) {
  executeQuery(input: $input) { run { ...RunStatus } }
}`);
const Status = graphql(`subscription Status($id: ID!) { queryStatus(id: $id) { ...RunStatus } }`);
const Cancel = graphql(`mutation Cancel($input: CancelQueryInput!) {
  cancelQuery(input: $input) { outcome run { ...RunStatus } }
}`);
const Export = graphql(`query Export($id: ID!) { queryRun(id: $id) { id downloadUrl(format: CSV) } }`);

/** Tests what was entered, so that only a connection that works is saved. */
function ConnectionForm({ done }: { done: (id: string) => void }) {
  const [tested, test] = useMutation(TestConnection);
  const [saved, save] = useMutation(SaveConnection);
  const [connected, connect] = useMutation(Connect);
  async function submit(form: HTMLFormElement) {
    const field = fields(form);
    const input = {
      name: field('name'),
      host: field('host'),
      port: Number(field('port')),
      database: field('database'),
      username: field('username'),
      password: field('password'),
    };
    if (!(await test({ input })).data?.testConnection?.ok) return;
    const { data } = await save({ input: { ...input, idempotencyKey: crypto.randomUUID() } });
    const id = data?.saveConnection?.connection.id;
    if (id && !(await connect({ input: { id } })).error) done(id);
  }
  const isBusy = tested.fetching || saved.fetching || connected.fetching;
  return (
    <form className="card" onSubmit={(event) => (event.preventDefault(), submit(event.currentTarget))}>
      <label>Name <input name="name" required defaultValue="My database" /></label>
      <label>Host <input name="host" required defaultValue="localhost" /></label>
      <label>Port <input name="port" type="number" required defaultValue={5432} /></label>
      <label>Database <input name="database" required defaultValue="postgres" /></label>
      <label>User <input name="username" required autoComplete="off" /></label>
      <label>Password <input name="password" type="password" autoComplete="off" /></label>
      <Problem error={tested.error ?? tested.data?.testConnection?.error ?? saved.error ?? connected.error} />
      <button className="primary" disabled={isBusy}>Save and connect</button>
    </form>
  );
}

export function WorkbenchPage() {
  const [{ data, error }] = useQuery({ query: Connections });
  const [chosen, setChosen] = useState<string>();
  const [isAdding, setIsAdding] = useState(false);
  const connections = data?.connections?.nodes ?? [];
  const connection = connections.find(({ id }) => id === chosen) ?? connections[0];
  return (
    <div className="workbench">
      <aside>
        <Problem error={error} />
        {connection && (
          <select aria-label="Connection" value={connection.id} onChange={(event) => setChosen(event.target.value)}>
            {connections.map(({ id, name }) => <option key={id} value={id}>{name}</option>)}
          </select>
        )}
        {connection && <button onClick={() => setIsAdding(!isAdding)}>New connection</button>}
        {data && (isAdding || !connection) && <ConnectionForm done={(id) => (setChosen(id), setIsAdding(false))} />}
        {connection && <SchemaTree key={connection.id} id={connection.id} />}
      </aside>
      {connection && <Editor key={connection.id} connectionId={connection.id} />}
    </div>
  );
}

function Editor({ connectionId }: { connectionId: string }) {
  const [text, setText] = useState('SELECT 1');
  const [executed, execute] = useMutation(Execute);
  const started = executed.data?.executeQuery?.run;
  const [status] = useSubscription({ query: Status, variables: { id: started?.id ?? '' }, pause: !started });
  const latest = status.data?.queryStatus;
  const run = latest?.id === started?.id ? (latest ?? started) : started; // at first the last run's status is left
  const start = () =>
    execute({ input: { connectionId, statement: text, maxRows: 500_000, idempotencyKey: crypto.randomUUID() } });
  return (
    <section>
      <Statement text={text} setText={setText} error={run?.statement === text ? run.error : null} start={start} />
      <button className="primary" onClick={start} disabled={executed.fetching}>Run</button>
      <Problem error={executed.error ?? status.error} />
      {run && <Result run={run} />}
    </section>
  );
}

type RunError = RunStatusFragment['error'];
type StatementProps = { text: string; setText: (text: string) => void; error: RunError; start: () => void };

/** A text area over a copy of its text, in which the error is marked. */
function Statement({ text, setText, error, start }: StatementProps) {
  const characters = [...text]; // positions count characters from 1, not UTF-16 units
  const position = error?.position ?? characters.length + 1;
  const before = characters.slice(0, position - 1).join('');
  const [marked = ''] = text.slice(before.length).match(/^\w+|^./s) ?? [];
  return (
    <div className="editor">
      <pre aria-hidden="true">{before}<mark>{marked}</mark>{text.slice(before.length + marked.length)}{'\n'}</pre>
      <textarea
        aria-label="SQL"
        aria-invalid={Boolean(error)}
        aria-describedby={error ? 'statement-error' : undefined}
        spellCheck={false}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => event.key === 'Enter' && (event.ctrlKey || event.metaKey) && start()}
      />
    </div>
  );
}

function Result({ run }: { run: RunStatusFragment }) {
  const client = useClient();
  const [cancelled, cancel] = useMutation(Cancel);
  const isActive = run.state === 'QUEUED' || run.state === 'RUNNING';
  async function save() {
    const { data } = await client.query(Export, { id: run.id }, FRESH).toPromise();
    if (data?.queryRun?.downloadUrl) download(data.queryRun.downloadUrl);
  }
  return (
    <>
      <p className="row" role="status">
        <span className={`state ${run.state.toLowerCase()}`}>{run.state}</span>
        {run.columns ? `${run.rowCount} rows` : run.rowsAffected !== null && `${run.rowsAffected} rows affected`}
        {run.truncated && ` (cut at ${run.truncated.limit})`} {run.elapsedMs !== null && `${run.elapsedMs} ms`}
        {isActive && <button onClick={() => cancel({ input: { id: run.id } })}>Cancel</button>}
        {!isActive && run.columns && <button onClick={save}>Export CSV</button>}
      </p>
      <Problem error={cancelled.error} />
      {run.error && (
        <p role="alert" id="statement-error" className="problem">
          {run.error.line && `Line ${run.error.line}, column ${run.error.column}: `}
          <strong>{run.error.message}</strong> {run.error.hint}
        </p>
      )}
      {run.columns && <Grid key={run.id} run={run} />}
    </>
  );
}
