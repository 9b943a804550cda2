import { initGraphQLTada } from 'gql.tada';
import type { introspection } from './graphql-env';

export type { ResultOf } from 'gql.tada';

/** Types a document from schema.graphql. Custom scalars get the types of their JSON form. */
export const graphql = initGraphQLTada<{
  introspection: introspection;
  disableMasking: true;
  scalars: {
    BigInt: string; // can exceed 2^53
    DateTime: string;
    JSON: unknown;
    Row: unknown[];
    SafeInt: number;
  };
}>();
