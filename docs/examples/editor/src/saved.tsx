// Step 7: save the statement, and open it again.

import { useState } from 'react';
import { useMutation, useQuery } from 'urql';
import { graphql } from './gql';
import type { SavedFragment } from './gql/graphql';
import { fields, Problem } from './parts';

graphql(`fragment Saved on SavedQuery { id name folder text version }`);
const List = graphql(`query SavedQueries { savedQueries(first: 100) { nodes { ...Saved } } }`);
const Save = graphql(`mutation Save($input: SaveQueryInput!) {
  saveQuery(input: $input) { savedQuery { ...Saved } }
}`);

type SavedQueriesProps = { connectionId: string; text: string; open: (text: string) => void };

export function SavedQueries({ connectionId, text, open }: SavedQueriesProps) {
  const [listed, list] = useQuery({ query: List });
  const [{ error, fetching }, save] = useMutation(Save);
  const [current, setCurrent] = useState<SavedFragment>();
  const queries = listed.data?.savedQueries?.nodes ?? [];
  function choose(id: string) {
    const chosen = queries.find((query) => query.id === id);
    setCurrent(chosen);
    if (chosen) open(chosen.text);
  }
  async function submit(name: string) {
    // The version that was opened: if another tab has saved the query since, the server refuses.
    const which = current
      ? { id: current.id, expectedVersion: current.version }
      : { connectionId, idempotencyKey: crypto.randomUUID() };
    const { data } = await save({ input: { ...which, name, text } });
    if (!data?.saveQuery) return;
    setCurrent(data.saveQuery.savedQuery);
    list({ requestPolicy: 'network-only' });
  }
  return (
    <form
      key={current?.id}
      className="row"
      onSubmit={(event) => (event.preventDefault(), submit(fields(event.currentTarget)('name')))}
    >
      <select aria-label="Saved query" value={current?.id ?? ''} onChange={(event) => choose(event.target.value)}>
        <option value="">New query</option>
        {queries.map(({ id, name, folder }) => (
          <option key={id} value={id}>{[folder, name].filter(Boolean).join('/')}</option>
        ))}
      </select>
      <input name="name" aria-label="Name of the query" required defaultValue={current?.name} placeholder="Name" />
      <button disabled={fetching}>Save</button>
      <Problem error={listed.error ?? error} />
    </form>
  );
}
