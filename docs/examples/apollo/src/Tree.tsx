import { useQuery } from '@apollo/client/react';
import { useState } from 'react';
import { graphql } from './graphql';
import { ErrorNote } from './parts';

const SCHEMAS = graphql(`
  query Schemas($id: ID!) { connection(id: $id) { id schemas(first: 100) { nodes { id name } } } }
`);
const TABLES = graphql(`
  query Tables($id: ID!, $name: String!, $after: String) {
    connection(id: $id) {
      id
      schema(name: $name) {
        id
        tables(first: 20, after: $after) {
          edges { node { id name kind } }
          pageInfo { hasNextPage endCursor }
        }
      }
    }
  }
`);

/** The schemas of a database. The tables of a schema are fetched when it is opened, 20 at a time. */
export function Tree({ connectionId }: { connectionId: string }) {
  const { data, error } = useQuery(SCHEMAS, { variables: { id: connectionId } });
  const [open, setOpen] = useState<string>();
  return (
    <>
      <ErrorNote error={error} />
      <ul className="tree">
        {data?.connection?.schemas?.nodes.map(({ id, name }) => (
          <li key={id}>
            <button
              className="plain" aria-expanded={name === open}
              onClick={() => setOpen(name === open ? undefined : name)}
            >
              {name}
            </button>
            {name === open && <Tables connectionId={connectionId} schema={name} />}
          </li>
        ))}
      </ul>
    </>
  );
}

function Tables({ connectionId, schema }: { connectionId: string; schema: string }) {
  const { data, error, fetchMore } = useQuery(TABLES, { variables: { id: connectionId, name: schema } });
  const [failure, setFailure] = useState<unknown>();
  const tables = data?.connection?.schema?.tables;
  return (
    <ul>
      {tables?.edges.map(({ node: { id, name, kind } }) => (
        <li key={id}>
          {name} {kind !== 'TABLE' && <small>{kind}</small>}
        </li>
      ))}
      {tables?.pageInfo.hasNextPage && (
        <li>
          <button
            className="plain"
            onClick={() => void fetchMore({ variables: { after: tables.pageInfo.endCursor } }).catch(setFailure)}
          >
            More tables
          </button>
        </li>
      )}
      <ErrorNote error={error ?? failure} />
    </ul>
  );
}
