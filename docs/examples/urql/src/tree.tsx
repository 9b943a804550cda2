// The catalogue of a connection, fetched one level at a time.

import { useState } from 'react';
import { useQuery } from 'urql';
import { graphql } from './gql';
import { Branch, More, Problem } from './parts';

const Schemas = graphql(`query Schemas($id: ID!) {
  connection(id: $id) { id schemas(first: 100) { nodes { id name } } }
}`);
const Tables = graphql(`query Tables($id: ID!, $schema: String!, $after: String) {
  connection(id: $id) { id
    schema(name: $schema) { id
      tables(first: 100, after: $after) { nodes { id name kind } pageInfo { hasNextPage endCursor } }
    }
  }
}`);
const Columns = graphql(`query Columns($id: ID!, $schema: String!, $table: String!) {
  connection(id: $id) { id
    table(schemaName: $schema, tableName: $table) { id columns { name type nullable isPrimaryKey } }
  }
}`);

export function SchemaTree({ id }: { id: string }) {
  const [{ data, error }] = useQuery({ query: Schemas, variables: { id } });
  return (
    <div className="tree">
      <Problem error={error} />
      {data?.connection?.schemas?.nodes.map(({ id: key, name }) => (
        <Branch key={key} label={name}>
          <TableList id={id} schema={name} after={null} />
        </Branch>
      ))}
    </div>
  );
}

function TableList({ id, schema, after }: { id: string; schema: string; after: string | null }) {
  const [{ data, error }] = useQuery({ query: Tables, variables: { id, schema, after } });
  const [isLast, setIsLast] = useState(true);
  const tables = data?.connection?.schema?.tables;
  const { hasNextPage = false, endCursor = null } = tables?.pageInfo ?? {};
  return (
    <>
      <Problem error={error} />
      {tables?.nodes.map(({ id: key, name, kind }) => (
        <Branch key={key} label={kind === 'TABLE' ? name : `${name} (${kind.toLowerCase().replaceAll('_', ' ')})`}>
          <ColumnList id={id} schema={schema} table={name} />
        </Branch>
      ))}
      {hasNextPage && isLast && <More load={() => setIsLast(false)} />}
      {hasNextPage && !isLast && <TableList id={id} schema={schema} after={endCursor} />}
    </>
  );
}

function ColumnList({ id, schema, table }: { id: string; schema: string; table: string }) {
  const [{ data, error }] = useQuery({ query: Columns, variables: { id, schema, table } });
  return (
    <ul>
      {error && <li><Problem error={error} /></li>}
      {data?.connection?.table?.columns?.map(({ name, type, nullable, isPrimaryKey }) => (
        <li key={name}>
          {isPrimaryKey ? <strong>{name}</strong> : name} <small>{type}{nullable ? '' : ' not null'}</small>
        </li>
      ))}
    </ul>
  );
}
