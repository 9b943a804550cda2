// Step 6: save a cell, unless someone else has changed it since it was read.

import { useMutation } from 'urql';
import { graphql } from './gql';
import type { RunFragment } from './gql/graphql';
import { fields, Popup, Problem, type Target } from './parts';

const Change = graphql(`mutation Change($input: ChangeRowsInput!) {
  changeRows(input: $input) { applied rows conflicts { row } error { message detail hint } }
}`);

/** Values by the names of the columns in their table. */
export type Row = Record<string, unknown>;

type EditCellProps = {
  table: NonNullable<RunFragment['editable']>;
  column: string;
  row: Row;
  target: Target;
  close: (present: Row | null) => void;
};

export function EditCell({ table, column, row, target, close }: EditCellProps) {
  const [{ data, error, fetching }, change] = useMutation(Change);
  const conflict = data?.changeRows?.conflicts?.[0];
  const present = (conflict?.row ?? null) as Row | null;
  async function save(value: string | null) {
    const { schemaName, tableName, keyColumns } = table;
    const key = Object.fromEntries(keyColumns.map((name) => [name, row[name]]));
    const expected = { [column]: (present ?? row)[column] }; // after a conflict: the value that the user has seen
    const changes = [{ kind: 'UPDATE' as const, key, expected, values: { [column]: value } }];
    const input = { ...target, schemaName, tableName, changes, idempotencyKey: crypto.randomUUID() };
    const answer = (await change({ input })).data?.changeRows;
    if (answer?.applied) close(answer.rows?.[0] as Row);
  }
  return (
    <Popup label={`Edit ${column}`} close={() => close(present)}>
      <form onSubmit={(event) => (event.preventDefault(), save(fields(event.currentTarget)('value')))}>
        <label>{column} <input name="value" autoFocus defaultValue={String(row[column] ?? '')} /></label>
        <p className="row">
          <button className="primary" disabled={fetching}>{present ? 'Overwrite' : 'Save'}</button>
          <button type="button" disabled={fetching} onClick={() => save(null)}>Set to NULL</button>
          <button type="button" onClick={() => close(present)}>{present ? 'Keep the other value' : 'Cancel'}</button>
        </p>
      </form>
      {conflict && (
        <p role="alert" className="problem">
          {present ? <>It was changed to <strong>{String(present[column] ?? 'NULL')}</strong>.</> : 'The row was deleted.'}
        </p>
      )}
      <Problem error={error ?? (conflict ? null : data?.changeRows?.error)} />
    </Popup>
  );
}
