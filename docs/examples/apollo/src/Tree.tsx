import { useQuery } from '@apollo/client/react';
import { useState } from 'react';
import { graphql } from './graphql';
import { ErrorNote } from './parts';

const SCHEMAS = graphql(`
  query Schemas($id: ID!) { connection(id: $id) { id schemas(first: 100) { nodes { name tables(first: 100) { nodes { name kind } } } } } }
`);

export function Tree({ connectionId }: { connectionId: string }) {
  const { data, error } = useQuery(SCHEMAS, { variables: { id: connectionId } });
  const [open, setOpen] = useState<string>();
  return (
    <>
      <h2>Schemas</h2>
      <ErrorNote error={error} />
      <ul className="list">
        {data?.connection?.schemas?.nodes.map((schema) => (
          <li key={schema.name}>
            <button className="plain" onClick={() => setOpen(schema.name)}>{schema.name}</button>
            {open === schema.name && <ul>{schema.tables?.nodes.map(({ name }) => <li key={name}>{name}</li>)}</ul>}
          </li>
        ))}
      </ul>
    </>
  );
}
