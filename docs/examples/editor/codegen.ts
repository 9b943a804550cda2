import type { CodegenConfig } from '@graphql-codegen/cli';

// Types of every operation in src/, from the schema that the server prints with `howdah schema`.
const config: CodegenConfig = {
  schema: '../../../schema.graphql',
  documents: 'src/**/*.{ts,tsx}',
  generates: {
    'src/gql/': {
      preset: 'client',
      presetConfig: { fragmentMasking: false },
      config: {
        enumsAsTypes: true,
        useTypeImports: true,
        strictScalars: true,
        scalars: {
          BigInt: 'string',
          DateTime: 'string',
          JSON: 'unknown',
          Row: 'ReadonlyArray<string | number | boolean | null>',
          SafeInt: 'number',
        },
      },
    },
  },
};

export default config;
