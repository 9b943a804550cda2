// The rules of @graphql-eslint for schema.graphql: all of them, except those below with a reason.
// Exceptions for single types and fields are in exceptions.mjs. graphql-schema-linter repeats most of
// these rules with other code; lint.mjs names the ones it skips there.
import { resolve } from 'node:path';
import graphql from '@graphql-eslint/eslint-plugin';

const { configs } = graphql;
export const plugin = '@graphql-eslint';

export function configFor(schema) {
  return [
    {
      files: ['**/*.graphql'],
      languageOptions: {
        parser: graphql.parser,
        parserOptions: { graphQLConfig: { schema: resolve(schema) } },
      },
      plugins: { [plugin]: graphql },
      rules: {
        ...configs['flat/schema-all'].rules,
        ...configs['flat/schema-relay'].rules,
        ...rules,
      },
    },
  ];
}

const rules = {
  [`${plugin}/require-description`]: ['error', {
    types: true,
    rootField: true,
    FieldDefinition: true,
    InputValueDefinition: true,
    EnumValueDefinition: true,
    DirectiveDefinition: true,
  }],
  // Short lists, such as the columns of a result, are not paged.
  [`${plugin}/relay-edge-types`]: ['error', { listTypeCanWrapOnlyEdgeType: false }],
  // Fields stand in the order in which a reader needs them.
  [`${plugin}/alphabetize`]: 'off',
  // Only a Node has an `id`: tests/graph/test_schema.py.
  [`${plugin}/strict-id-in-types`]: 'off',
  // There are mutations and subscriptions.
  [`${plugin}/no-root-type`]: 'off',
  // Nullable are the root fields whose loss should not take others along; a mutation has none beside it.
  [`${plugin}/require-nullable-result-in-root`]: 'off',
  // A payload holds what was changed, which is what the caches of clients need.
  [`${plugin}/require-field-of-type-query-in-mutation-result`]: 'off',
  // The reason of a deprecation names a release, because releases have no fixed dates.
  [`${plugin}/require-deprecation-date`]: 'off',
};
