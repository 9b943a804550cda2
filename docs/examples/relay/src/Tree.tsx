import { Suspense, useState } from 'react';
import { graphql, useLazyLoadQuery, usePaginationFragment } from 'react-relay';
import type { Tree_schema$key } from './__generated__/Tree_schema.graphql';
import type { TreeQuery } from './__generated__/TreeQuery.graphql';
import type { TreeSchemaQuery } from './__generated__/TreeSchemaQuery.graphql';
import type { TreeTablesQuery } from './__generated__/TreeTablesQuery.graphql';
import { ErrorBoundary } from './parts';

const SCHEMAS = graphql`
  query TreeQuery($id: ID!) { connection(id: $id) { schemas(first: 100) { nodes { id name } } } }
`;
const SCHEMA = graphql`query TreeSchemaQuery($id: ID!) { node(id: $id) { ...Tree_schema @alias(as: "schema") } }`;
const TABLES = graphql`
  fragment Tree_schema on DatabaseSchema
  @argumentDefinitions(first: { type: "Int", defaultValue: 20 }, after: { type: "String" })
  @refetchable(queryName: "TreeTablesQuery") {
    tables(first: $first, after: $after) @connection(key: "Tree_tables") { edges { node { id name kind } } }
  }
`;

/** The schemas of a database. The tables of a schema are fetched when it is opened, 20 at a time. */
export function Tree({ connectionId }: { connectionId: string }) {
  const { connection } = useLazyLoadQuery<TreeQuery>(SCHEMAS, { id: connectionId });
  const [open, setOpen] = useState<string>();
  return (
    <ul className="tree">
      {connection?.schemas?.nodes.map(({ id, name }) => (
        <li key={id}>
          <button
            className="plain" aria-expanded={id === open}
            onClick={() => setOpen(id === open ? undefined : id)}
          >
            {name}
          </button>
          {id === open && (
            <ErrorBoundary>
              <Suspense fallback="Loading ...">
                <Schema id={id} />
              </Suspense>
            </ErrorBoundary>
          )}
        </li>
      ))}
    </ul>
  );
}

function Schema({ id }: { id: string }) {
  const { node } = useLazyLoadQuery<TreeSchemaQuery>(SCHEMA, { id });
  return node?.schema && <Tables schemaRef={node.schema} />;
}

function Tables({ schemaRef }: { schemaRef: Tree_schema$key }) {
  const { data, hasNext, loadNext } = usePaginationFragment<TreeTablesQuery, Tree_schema$key>(TABLES, schemaRef);
  return (
    <ul>
      {data.tables?.edges.map(({ node: { id, name, kind } }) => (
        <li key={id}>
          {name} {kind !== 'TABLE' && <small>{kind}</small>}
        </li>
      ))}
      {hasNext && (
        <li>
          <button className="plain" onClick={() => loadNext(20)}>More tables</button>
        </li>
      )}
    </ul>
  );
}
