// Step 3: run the statement, follow it live, cancel it.

import { useMutation, useSubscription } from 'urql';
import { graphql } from './gql';
import type { RunFragment } from './gql/graphql';
import { type Failure, Problem, type Target } from './parts';

graphql(`fragment Run on QueryRun {
  id state rowCount rowsAffected command elapsedMs
  columns { name uniqueName type columnName }
  editable { schemaName tableName keyColumns }
  error { message detail hint line column }
  session { state }
}`);
const Execute = graphql(`mutation Execute($input: ExecuteQueryInput!) {
  executeQuery(input: $input) { run { ...Run } }
}`);
const Status = graphql(`subscription Status($id: ID!) { queryStatus(id: $id) { ...Run } }`);
const Cancel = graphql(`mutation Cancel($input: CancelQueryInput!) { cancelQuery(input: $input) { outcome } }`);

export function useRun(target: Target) {
  const [{ data, error, fetching }, execute] = useMutation(Execute);
  const started = data?.executeQuery?.run;
  const [followed] = useSubscription({ query: Status, variables: { id: started?.id ?? '' }, pause: !started });
  const latest = followed.data?.queryStatus;
  return {
    run: latest?.id === started?.id ? (latest ?? started) : started, // at first `latest` is that of the run before
    error: error ?? followed.error,
    fetching,
    start: (statement: string) =>
      execute({ input: { ...target, statement, waitMs: 100, idempotencyKey: crypto.randomUUID() } }),
  };
}

type RunBarProps = { run: RunFragment | undefined; error: Failure; fetching: boolean; start: () => void };

export function RunBar({ run, error, fetching, start }: RunBarProps) {
  const [cancelled, cancel] = useMutation(Cancel);
  const isActive = run?.state === 'QUEUED' || run?.state === 'RUNNING';
  return (
    <>
      <p className="row">
        <button className="primary" disabled={fetching || isActive} onClick={start}>Run</button>
        {run && isActive && <button onClick={() => cancel({ input: { id: run.id } })}>Cancel</button>}
        {run && (
          <span role="status">
            {run.state} {run.columns ? `${run.rowCount} rows` : run.command}
            {run.elapsedMs !== null && ` in ${run.elapsedMs} ms`}
          </span>
        )}
      </p>
      <Problem error={error ?? cancelled.error ?? run?.error} />
    </>
  );
}
