import { useMutation, useQuery, useSubscription } from '@apollo/client/react';
import { useRef, useState } from 'react';
import { graphql, type ResultOf } from './graphql';
import { ErrorNote, Field, valuesOf } from './parts';
import { Tree } from './Tree';

const CONNECTIONS = graphql(`query Connections { connections(first: 100) { nodes { id name isConnected } } }`);
const SAVE = graphql(`
  mutation SaveConnection($input: SaveConnectionInput!) { saveConnection(input: $input) { connection { id } } }
`);
const CONNECT = graphql(`
  mutation Connect($input: ConnectInput!) {
    connect(input: $input) { connection { id isConnected } activeConnection { serverVersion } }
  }
`);
const RUN = graphql(`
  fragment RunStatus on QueryRun {
    id state statement rowCount rowsAffected elapsedMs command
    columns { name type }
    error { message hint line column position }
  }
`);
const EXECUTE = graphql(
  `mutation Execute($input: ExecuteQueryInput!) { executeQuery(input: $input) { run { ...RunStatus } } }`,
  [RUN],
);
const STATUS = graphql(`subscription Status($id: ID!) { queryStatus(id: $id) { ...RunStatus } }`, [RUN]);
const CANCEL = graphql(
  `mutation Cancel($input: CancelQueryInput!) { cancelQuery(input: $input) { outcome run { ...RunStatus } } }`,
  [RUN],
);
const ROWS = graphql(`
  query Rows($id: ID!, $offset: Int!) {
    queryRun(id: $id) { id downloadUrl(format: CSV) rows(first: 50, offset: $offset) { rows hasMore } }
  }
`);

export function Workbench() {
  const { data, error, refetch } = useQuery(CONNECTIONS);
  const [connect, connecting] = useMutation(CONNECT);
  const [chosen, setChosen] = useState<string>();
  const version = connecting.data?.connect?.activeConnection.serverVersion;

  async function open(id: string) {
    await connect({ variables: { input: { id } } });
    setChosen(id);
  }

  return (
    <div className="columns">
      <aside>
        <h2>Connections</h2>
        <ul className="list">
          {data?.connections?.nodes.map(({ id, name, isConnected }) => (
            <li key={id}>
              <button className="plain" aria-pressed={id === chosen} onClick={() => void open(id).catch(() => {})}>
                {name} {isConnected && '●'}
              </button>
            </li>
          ))}
        </ul>
        <SaveForm saved={(id) => void refetch().then(() => open(id)).catch(() => {})} />
        <ErrorNote error={error ?? connecting.error} />
        {chosen && <h2>PostgreSQL {version}</h2>}
        {chosen && <Tree key={chosen} connectionId={chosen} />}
      </aside>
      {chosen && <Editor key={chosen} connectionId={chosen} />}
    </div>
  );
}

function SaveForm({ saved }: { saved: (id: string) => void }) {
  const [save, { error }] = useMutation(SAVE);

  async function submit(event: React.FormEvent<HTMLFormElement>) {
    const form = event.currentTarget;
    const { name = '', host = '', port = '', database = '', username = '', password = '' } = valuesOf(event);
    const input = { name, host, port: Number(port), database, username, password };
    const { data } = await save({ variables: { input } });
    if (!data?.saveConnection) return;
    form.closest('details')!.open = false;
    form.reset();
    saved(data.saveConnection.connection.id);
  }

  return (
    <details>
      <summary>New connection</summary>
      <form className="stack" onSubmit={(event) => void submit(event).catch(() => {})}>
        <Field label="Name" name="name" />
        <Field label="Host" name="host" />
        <Field label="Port" name="port" type="number" defaultValue={5432} />
        <Field label="Database" name="database" />
        <Field label="User" name="username" />
        <Field label="Password" name="password" type="password" autoComplete="off" />
        <button>Save and connect</button>
        <ErrorNote error={error} />
      </form>
    </details>
  );
}

type Run = ResultOf<typeof RUN>;
const isActive = ({ state }: Run) => state === 'QUEUED' || state === 'RUNNING';

function Editor({ connectionId }: { connectionId: string }) {
  const editor = useRef<HTMLTextAreaElement>(null);
  const [execute, executing] = useMutation(EXECUTE);
  const [cancel, cancelling] = useMutation(CANCEL);
  const started = executing.data?.executeQuery?.run;
  const status = useSubscription(STATUS, {
    variables: { id: started?.id ?? '' },
    skip: !started,
    onData: ({ data: { data } }) => markError(data?.queryStatus),
  });
  const run = status.data?.queryStatus ?? started;

  /** Selects the place of the error. `position` counts Unicode characters, a text area counts UTF-16 units. */
  function markError(run: Run | undefined) {
    const area = editor.current;
    if (!area || !run?.error?.position || area.value !== run.statement) return;
    const offset = [...run.statement].slice(0, run.error.position - 1).join('').length;
    area.focus();
    area.setSelectionRange(offset, offset + 1);
  }

  function submit() {
    const statement = editor.current?.value ?? '';
    const input = { connectionId, statement, idempotencyKey: crypto.randomUUID() }; // a retry does not run it twice
    execute({ variables: { input } }).catch(() => {});
  }

  return (
    <section>
      <label>
        Statement
        <textarea
          ref={editor} rows={6} spellCheck={false}
          onKeyDown={(event) => event.key === 'Enter' && (event.ctrlKey || event.metaKey) && submit()}
        />
      </label>
      <div className="row">
        <button onClick={submit}>Run</button>
        <button
          disabled={!run || !isActive(run)}
          onClick={() => run && void cancel({ variables: { input: { id: run.id } } }).catch(() => {})}
        >
          Cancel
        </button>
        <output>{run && `${run.state}, ${run.rowCount} rows, ${run.elapsedMs ?? 0} ms`}</output>
      </div>
      <ErrorNote error={executing.error ?? cancelling.error ?? status.error} />
      {run?.error && <RunFailure run={run} />}
      {run && !isActive(run) && run.columns && <Rows key={run.id} run={run} />}
    </section>
  );
}

function RunFailure({ run: { error, statement } }: { run: Run }) {
  const { message, hint, line, column } = error!;
  return (
    <div role="alert">
      <p>
        <strong>{message}</strong> {hint}
      </p>
      {line && column && (
        <pre>
          {`Line ${line}, column ${column}:\n${statement.split('\n')[line - 1]}\n${' '.repeat(column - 1)}^`}
        </pre>
      )}
    </div>
  );
}

function Rows({ run }: { run: Run }) {
  const [offset, setOffset] = useState(0);
  const { data, previousData, error } = useQuery(ROWS, { variables: { id: run.id, offset } });
  const shown = (data ?? previousData)?.queryRun;
  const rows = shown?.rows?.rows ?? [];
  return (
    <>
      <ErrorNote error={error} />
      <div className="grid">
        <table>
          <thead>
            <tr>
              {run.columns?.map(({ name, type }, index) => (
                <th key={index} scope="col">
                  {name} <small>{type}</small>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, index) => (
              <tr key={offset + index}>
                {row.map((value, column) => (
                  <td key={column}>{value === null ? <i>NULL</i> : String(value)}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <div className="row">
        <button disabled={offset === 0} onClick={() => setOffset(Math.max(0, offset - 50))}>Previous</button>
        <span>
          {rows.length ? offset + 1 : 0} to {offset + rows.length} of {run.rowCount}
        </span>
        <button disabled={!shown?.rows?.hasMore} onClick={() => setOffset(offset + rows.length)}>Next</button>
        {shown?.downloadUrl && <a href={shown.downloadUrl}>Download CSV</a>}
      </div>
    </>
  );
}
