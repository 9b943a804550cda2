import { Suspense, useMemo, useRef, useState, useTransition } from 'react';
import { graphql, useLazyLoadQuery, useSubscription } from 'react-relay';
import type { GraphQLSubscriptionConfig } from 'relay-runtime';
import type { WorkbenchCancelMutation } from './__generated__/WorkbenchCancelMutation.graphql';
import type { WorkbenchConnectMutation } from './__generated__/WorkbenchConnectMutation.graphql';
import type { WorkbenchExecuteMutation } from './__generated__/WorkbenchExecuteMutation.graphql';
import type { WorkbenchQuery } from './__generated__/WorkbenchQuery.graphql';
import type { WorkbenchRowsQuery } from './__generated__/WorkbenchRowsQuery.graphql';
import type { WorkbenchRunQuery } from './__generated__/WorkbenchRunQuery.graphql';
import type { WorkbenchSaveMutation } from './__generated__/WorkbenchSaveMutation.graphql';
import type { WorkbenchStatusSubscription } from './__generated__/WorkbenchStatusSubscription.graphql';
import { ErrorBoundary, ErrorNote, Field, useAction, valuesOf } from './parts';
import { Tree } from './Tree';

const CONNECTIONS = graphql`
  query WorkbenchQuery {
    connections(first: 100) @connection(key: "Workbench_connections") { __id edges { node { id name isConnected } } }
  }
`;
const CONNECT = graphql`
  mutation WorkbenchConnectMutation($input: ConnectInput!) {
    connect(input: $input) { connection { id isConnected } activeConnection { serverVersion } }
  }
`;
const SAVE = graphql`
  mutation WorkbenchSaveMutation($input: SaveConnectionInput!, $connections: [ID!]!) {
    saveConnection(input: $input) {
      connection @appendNode(connections: $connections, edgeTypeName: "DatabaseConnectionEdge") {
        id name isConnected
      }
    }
  }
`;
const EXECUTE = graphql`
  mutation WorkbenchExecuteMutation($input: ExecuteQueryInput!) { executeQuery(input: $input) { run { id } } }
`;
const CANCEL = graphql`
  mutation WorkbenchCancelMutation($input: CancelQueryInput!) { cancelQuery(input: $input) { run { id state } } }
`;
const RUN = graphql`
  query WorkbenchRunQuery($id: ID!) { queryRun(id: $id) { ...Workbench_status @relay(mask: false) } }
`;
const STATUS = graphql`
  subscription WorkbenchStatusSubscription($id: ID!) { queryStatus(id: $id) { ...Workbench_status @relay(mask: false) } }
`;
graphql`
  fragment Workbench_status on QueryRun {
    id state statement rowCount elapsedMs
    columns { name type }
    error { message hint line column position }
  }
`;
const ROWS = graphql`
  query WorkbenchRowsQuery($id: ID!, $offset: Int!) {
    queryRun(id: $id) { downloadUrl(format: CSV) rows(first: 50, offset: $offset) { rows hasMore } }
  }
`;

export function Workbench() {
  const { connections } = useLazyLoadQuery<WorkbenchQuery>(CONNECTIONS, {}, { fetchPolicy: 'store-and-network' });
  const [connect, error] = useAction<WorkbenchConnectMutation>(CONNECT);
  const [chosen, setChosen] = useState<{ id: string; version: string }>();

  function open(id: string) {
    connect({
      variables: { input: { id } },
      onCompleted: ({ connect }) => connect && setChosen({ id, version: connect.activeConnection.serverVersion }),
    });
  }

  return (
    <div className="columns">
      <aside>
        <h2>Connections</h2>
        <ul className="list">
          {connections?.edges.map(({ node: { id, name, isConnected } }) => (
            <li key={id}>
              <button className="plain" aria-pressed={id === chosen?.id} onClick={() => open(id)}>
                {name} {isConnected && '●'}
              </button>
            </li>
          ))}
        </ul>
        <SaveForm listId={connections?.__id ?? ''} saved={open} />
        <ErrorNote error={error} />
        {chosen && (
          <ErrorBoundary key={chosen.id}>
            <h2>PostgreSQL {chosen.version}</h2>
            <Suspense fallback="Loading ...">
              <Tree connectionId={chosen.id} />
            </Suspense>
          </ErrorBoundary>
        )}
      </aside>
      {chosen && <Editor key={chosen.id} connectionId={chosen.id} />}
    </div>
  );
}

function SaveForm({ listId, saved }: { listId: string; saved: (id: string) => void }) {
  const [save, error] = useAction<WorkbenchSaveMutation>(SAVE);

  function submit(event: React.FormEvent<HTMLFormElement>) {
    const { name = '', host = '', port = '', database = '', username = '', password = '' } = valuesOf(event);
    const form = event.currentTarget;
    save({
      variables: { input: { name, host, port: Number(port), database, username, password }, connections: [listId] },
      onCompleted: ({ saveConnection }) => {
        form.closest('details')!.open = false;
        form.reset();
        if (saveConnection) saved(saveConnection.connection.id);
      },
    });
  }

  return (
    <details>
      <summary>New connection</summary>
      <form className="stack" onSubmit={submit}>
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

function Editor({ connectionId }: { connectionId: string }) {
  const editor = useRef<HTMLTextAreaElement>(null);
  const [execute, error] = useAction<WorkbenchExecuteMutation>(EXECUTE);
  const [runId, setRunId] = useState<string>();

  function submit() {
    const statement = editor.current?.value ?? '';
    const input = { connectionId, statement, idempotencyKey: crypto.randomUUID() }; // a retry does not run it twice
    execute({ variables: { input }, onCompleted: ({ executeQuery }) => setRunId(executeQuery?.run.id) });
  }

  /** Selects the place of an error. `position` counts Unicode characters, a text area counts UTF-16 units. */
  function mark(statement: string, position: number) {
    const area = editor.current;
    if (!area || area.value !== statement) return;
    const offset = [...statement].slice(0, position - 1).join('').length;
    area.focus();
    area.setSelectionRange(offset, offset + 1);
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
      </div>
      <ErrorNote error={error} />
      {runId && (
        <ErrorBoundary key={runId}>
          <Suspense fallback="Loading ...">
            <Run id={runId} mark={mark} />
          </Suspense>
        </ErrorBoundary>
      )}
    </section>
  );
}

/** A run and its live status: the subscription updates the record that the query reads. */
function Run({ id, mark }: { id: string; mark: (statement: string, position: number) => void }) {
  const run = useLazyLoadQuery<WorkbenchRunQuery>(RUN, { id }).queryRun;
  const [cancel, cancelError] = useAction<WorkbenchCancelMutation>(CANCEL);
  const [statusError, setStatusError] = useState<Error>();
  const config = useMemo<GraphQLSubscriptionConfig<WorkbenchStatusSubscription>>(
    () => ({
      subscription: STATUS,
      variables: { id },
      onNext: (response) => {
        const { statement, error } = response!.queryStatus;
        if (error?.position) mark(statement, error.position);
      },
      onError: setStatusError,
    }),
    [id],
  );
  useSubscription(config);
  if (!run) return null;

  const { state, statement, rowCount, elapsedMs, columns, error } = run;
  const isActive = state === 'QUEUED' || state === 'RUNNING';
  return (
    <>
      <div className="row">
        <button disabled={!isActive} onClick={() => cancel({ variables: { input: { id } } })}>Cancel</button>
        <output>{`${state}, ${rowCount} rows, ${elapsedMs ?? 0} ms`}</output>
      </div>
      <ErrorNote error={cancelError ?? statusError} />
      {error && (
        <div role="alert">
          <p>
            <strong>{error.message}</strong> {error.hint}
          </p>
          {error.line && error.column && (
            <pre>
              {`Line ${error.line}, column ${error.column}:\n`}
              {`${statement.split('\n')[error.line - 1]}\n${' '.repeat(error.column - 1)}^`}
            </pre>
          )}
        </div>
      )}
      {!isActive && columns && <Rows id={id} columns={columns} rowCount={rowCount} />}
    </>
  );
}

type Column = { readonly name: string; readonly type: string };

function Rows({ id, columns, rowCount }: { id: string; columns: readonly Column[]; rowCount: number }) {
  const [offset, setOffset] = useState(0);
  const [isLoading, startTransition] = useTransition(); // keeps the old page in view while the next one loads
  const { queryRun } = useLazyLoadQuery<WorkbenchRowsQuery>(ROWS, { id, offset });
  const rows = queryRun?.rows?.rows ?? [];
  const go = (to: number) => startTransition(() => setOffset(to));
  return (
    <>
      <div className="grid" aria-busy={isLoading}>
        <table>
          <thead>
            <tr>
              {columns.map(({ name, type }, index) => (
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
        <button disabled={offset === 0} onClick={() => go(Math.max(0, offset - 50))}>Previous</button>
        <span>
          {rows.length ? offset + 1 : 0} to {offset + rows.length} of {rowCount}
        </span>
        <button disabled={!queryRun?.rows?.hasMore} onClick={() => go(offset + rows.length)}>Next</button>
        {queryRun?.downloadUrl && <a href={queryRun.downloadUrl}>Download CSV</a>}
      </div>
    </>
  );
}
