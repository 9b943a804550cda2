// The catalogue of a connection, fetched one level at a time.

import { useQuery } from 'urql';
import { graphql } from './gql';
import { Branch, Problem } from './parts';

const Schemas = graphql(`query Schemas($id: ID!) {
  connection(id: $id) { id schemas(first: 100) { nodes { name } } }
}`);

export function Tree({ connectionId }: { connectionId: string }) {
  const [{ data, error }] = useQuery({ query: Schemas, variables: { id: connectionId } });
  return (
    <div className="tree">
      <Problem error={error} />
      {data?.connection?.schemas?.nodes.map(({ name }) => (
        <Branch key={name} label={name}>{''}</Branch>
      ))}
    </div>
  );
}
