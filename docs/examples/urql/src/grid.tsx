// The rows of a run: pages of 100 rows, of which only those in view exist and are fetched.

import { useVirtualizer } from '@tanstack/react-virtual';
import { useRef } from 'react';
import { useQuery } from 'urql';
import { graphql } from './gql';
import type { RunStatusFragment } from './gql/graphql';
import { Problem } from './parts';

const RunRows = graphql(`query RunRows($id: ID!, $offset: Int!, $first: Int!) {
  queryRun(id: $id) { id rows(offset: $offset, first: $first) { rows } }
}`);

const PAGE = 100;
const ROW_HEIGHT = 26; // px, as in style.css

export function Grid({ run }: { run: RunStatusFragment }) {
  const scroller = useRef<HTMLDivElement>(null);
  const pages = useVirtualizer({
    count: Math.ceil(run.rowCount / PAGE),
    getScrollElement: () => scroller.current,
    estimateSize: () => PAGE * ROW_HEIGHT,
    overscan: 0,
  });
  return (
    <div ref={scroller} className="grid" role="table" tabIndex={0} aria-label="Result" aria-rowcount={run.rowCount + 1}>
      <div className="cells head" role="row" aria-rowindex={1}>
        {run.columns?.map((column, index) => (
          <span key={index} role="columnheader">{column.name} <small>{column.type}</small></span>
        ))}
      </div>
      <div role="presentation" style={{ height: run.rowCount * ROW_HEIGHT, position: 'relative' }}>
        {pages.getVirtualItems().map(({ index, start }) => (
          <div key={index} role="rowgroup" className="page" style={{ top: start }}>
            <Rows id={run.id} offset={index * PAGE} count={Math.min(PAGE, run.rowCount - index * PAGE)} />
          </div>
        ))}
      </div>
    </div>
  );
}

/** `count` grows with the last page of a run that is still receiving rows, which fetches it again. */
function Rows({ id, offset, count }: { id: string; offset: number; count: number }) {
  const variables = { id, offset, first: count };
  const [{ data, error }] = useQuery({ query: RunRows, variables, requestPolicy: 'cache-first' }); // rows never change
  const rows = data?.queryRun?.rows?.rows ?? [];
  return (
    <>
      <Problem error={error} />
      {rows.map((row, index) => (
        <div key={index} className="cells" role="row" aria-rowindex={offset + index + 2}>
          {row.map((value, column) => (
            <span key={column} role="cell" className={value === null ? 'null' : ''}>{String(value ?? 'NULL')}</span>
          ))}
        </div>
      ))}
      {/* A page of very large rows may be shorter than asked for: the rest is another page. */}
      {rows.length > 0 && rows.length < count && (
        <Rows id={id} offset={offset + rows.length} count={count - rows.length} />
      )}
    </>
  );
}
