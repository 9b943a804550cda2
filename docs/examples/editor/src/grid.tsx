// Step 4: pages of rows, sorted and filtered by the server, and the whole of long values.

import { useState } from 'react';
import { useQuery } from 'urql';
import { EditCell, type Row } from './edit-cell';
import { graphql } from './gql';
import type { RowOrder, RunFragment } from './gql/graphql';
import { Popup, Problem, type Target } from './parts';

const Rows = graphql(`query Rows(
  $id: ID!, $offset: Int!, $first: Int!, $orderBy: [RowOrder!], $filter: [RowCondition!]
) {
  queryRun(id: $id) {
    rows(first: $first, offset: $offset, orderBy: $orderBy, filter: $filter, maxCellBytes: 200) {
      totalCount positions rows cutCells { row column sizeBytes }
    }
  }
}`);
const Cell = graphql(`query Cell($id: ID!, $row: Int!, $column: Int!) {
  queryRun(id: $id) { cell(row: $row, column: $column) { text isComplete downloadUrl } }
}`);

const PAGE = 50;

type Place = { position: number; column: number };
type View = { offset: number; order: RowOrder | null; filters: Record<string, string> };

export function Grid({ run, target }: { run: RunFragment; target: Target }) {
  const columns = run.columns ?? [];
  const hasEnded = run.state !== 'QUEUED' && run.state !== 'RUNNING'; // only then it can be sorted and filtered
  const [{ offset, order, filters }, setView] = useState<View>({ offset: 0, order: null, filters: {} });
  const show = (change: Partial<View>) => setView({ offset: 0, order, filters, ...change });
  const [edited, setEdited] = useState<Record<number, Row>>({});
  const [opened, setOpened] = useState<Place | null>(null);
  const filter = Object.entries(filters)
    .filter(([, value]) => value)
    .map(([column, value]) => ({ column, comparison: 'CONTAINS' as const, value, ignoreCase: true }));
  const first = Math.max(1, Math.min(PAGE, run.rowCount - offset)); // grows while rows arrive, which fetches them
  const variables = { id: run.id, offset, first, orderBy: order && [order], filter };
  const [{ data, error }] = useQuery({ query: Rows, variables });
  const page = data?.queryRun?.rows;
  const total = filter.length ? (page?.totalCount ?? 0) : run.rowCount;

  const sort = (column: string) => {
    const direction = order?.column === column && order.direction === 'ASC' ? 'DESC' : 'ASC';
    show({ order: { column, direction } });
  };
  const close = (position: number, saved: Row | null) => {
    if (saved) setEdited({ ...edited, [position]: saved });
    setOpened(null);
  };

  return (
    <>
      <p className="row">
        <button disabled={offset === 0} onClick={() => show({ offset: Math.max(0, offset - PAGE) })}>Previous</button>
        <button disabled={offset + PAGE >= total} onClick={() => show({ offset: offset + PAGE })}>Next</button>
        <span>{total ? `Rows ${offset + 1} to ${Math.min(offset + PAGE, total)} of ${total}` : 'No rows'}</span>
        <small>Double-click a value to {run.editable ? 'edit' : 'see all of'} it.</small>
      </p>
      <Problem error={error} />
      <table>
        <thead>
          <tr>
            {columns.map(({ uniqueName, name, type }) => (
              <th key={uniqueName}>
                <button className="link" disabled={!hasEnded} onClick={() => sort(uniqueName)}>
                  {name} <small>{type}</small>
                  {order?.column === uniqueName && (order.direction === 'DESC' ? ' ↓' : ' ↑')}
                </button>
                <input
                  aria-label={`Filter ${uniqueName}`}
                  placeholder="Filter"
                  disabled={!hasEnded}
                  onChange={(event) => show({ filters: { ...filters, [uniqueName]: event.target.value } })}
                />
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {page?.rows.map((cells, index) => {
            const position = page.positions[index]!;
            const saved = edited[position] ?? {};
            const values = columns.map(({ columnName: name }, at) => (name && name in saved ? saved[name] : cells[at]));
            const row = Object.fromEntries(columns.map(({ columnName }, at) => [columnName, values[at]]));
            return (
              <tr key={position}>
                {values.map((value, column) => {
                  const isCut = page.cutCells.some((cut) => cut.row === position && cut.column === column);
                  const isOpen = opened?.position === position && opened.column === column;
                  const { columnName } = columns[column]!;
                  return (
                    <td
                      key={column}
                      className={value === null ? 'null' : ''}
                      onDoubleClick={() => setOpened({ position, column })}
                    >
                      {String(value ?? 'NULL')}{isCut && '…'}
                      {isOpen && isCut && <WholeCell id={run.id} {...opened} close={() => setOpened(null)} />}
                      {isOpen && !isCut && run.editable && columnName && (
                        <EditCell
                          {...{ target, row }}
                          table={run.editable}
                          column={columnName}
                          close={(saved) => close(position, saved)}
                        />
                      )}
                    </td>
                  );
                })}
              </tr>
            );
          })}
        </tbody>
      </table>
    </>
  );
}

function WholeCell({ id, position, column, close }: Place & { id: string; close: () => void }) {
  const [{ data, error }] = useQuery({ query: Cell, variables: { id, row: position, column } });
  const cell = data?.queryRun?.cell;
  return (
    <Popup label="Value" close={close}>
      <Problem error={error} />
      <pre>{cell?.text}{cell?.isComplete === false && '…'}</pre>
      <p className="row">
        {cell?.downloadUrl && <a href={cell.downloadUrl}>Download</a>}
        <button onClick={close}>Close</button>
      </p>
    </Popup>
  );
}
