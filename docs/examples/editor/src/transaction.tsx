// Step 8: a session, whose transaction stays open between statements.

import { useState } from 'react';
import { useMutation, useSubscription } from 'urql';
import { graphql } from './gql';
import { Problem, type Target } from './parts';

const Open = graphql(`mutation Open($input: OpenSessionInput!) { openSession(input: $input) { session { id } } }`);
const Follow = graphql(`subscription Session($id: ID!) {
  sessionChanged(id: $id) { id state transaction { statementCount } }
}`);
const Commit = graphql(`mutation Commit($input: CommitTransactionInput!) {
  commitTransaction(input: $input) { run { error { message detail hint } } }
}`);
const Rollback = graphql(`mutation Rollback($input: RollbackTransactionInput!) {
  rollbackTransaction(input: $input) { run { error { message detail hint } } }
}`);
const Close = graphql(`mutation Close($input: CloseSessionInput!) { closeSession(input: $input) { session { id } } }`);

type TransactionProps = { connectionId: string; setTarget: (target: Target) => void };

export function Transaction({ connectionId, setTarget }: TransactionProps) {
  const [id, setId] = useState<string>();
  const [opened, open] = useMutation(Open);
  const [committed, commit] = useMutation(Commit);
  const [rolledBack, rollback] = useMutation(Rollback);
  const [, close] = useMutation(Close);
  const [{ data, error }] = useSubscription({ query: Follow, variables: { id: id ?? '' }, pause: !id });
  const session = data?.sessionChanged;
  const isOpen = session?.id === id && session?.state !== 'CLOSED';
  async function begin() {
    const input = { connectionId, autocommit: false, idempotencyKey: crypto.randomUUID() };
    const { data } = await open({ input });
    if (!data?.openSession) return;
    const sessionId = data.openSession.session.id;
    setId(sessionId);
    setTarget({ sessionId });
  }
  async function end(sessionId: string) {
    await close({ input: { sessionId } }); // an open transaction is rolled back
    setId(undefined);
    setTarget({ connectionId });
  }
  const input = { sessionId: id ?? '' };
  const failed = committed.data?.commitTransaction?.run.error ?? rolledBack.data?.rollbackTransaction?.run.error;
  return (
    <>
      <p className="row">
        {!id && <button disabled={opened.fetching} onClick={begin}>Begin session</button>}
        {id && isOpen && <button onClick={() => commit({ input })}>Commit</button>}
        {id && isOpen && <button onClick={() => rollback({ input })}>Roll back</button>}
        {id && <button onClick={() => end(id)}>Close session</button>}
        {id && session && (
          <span aria-label="Session">{session.state} {session.transaction && `${session.transaction.statementCount} statements`}</span>
        )}
      </p>
      <Problem error={opened.error ?? error ?? committed.error ?? rolledBack.error ?? failed} />
    </>
  );
}
