// Each document below examples/ is a tab of a first visit, in the order of the file names.
const documents = import.meta.glob('./examples/*.graphql', {
  query: '?raw',
  import: 'default',
  eager: true,
});

export const examples = Object.keys(documents)
  .sort()
  .map((name) => ({ query: documents[name] }));
