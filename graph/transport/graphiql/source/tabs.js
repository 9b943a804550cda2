// The tabs of the page: examples at a first visit, then those that GraphiQL keeps in localStorage.

import { keepsHeaders } from './storage';

// Each document below examples/ is a tab, in the order of the file names, with the variables of the
// file of the same name. tests/graph/transport/test_graphiql_examples.py runs them.
const documents = import.meta.glob('./examples/*.graphql', {
  query: '?raw',
  import: 'default',
  eager: true,
});
const variables = import.meta.glob('./examples/*.json', {
  query: '?raw',
  import: 'default',
  eager: true,
});

export const defaultTabs = Object.keys(documents)
  .sort()
  .map((name) => ({
    query: documents[name],
    variables: variables[name.replace('.graphql', '.json')],
  }));

/**
 * What the editors show first. GraphiQL leaves out the variables of the first default tab, and adds
 * an empty tab after a reload if variables were edited and the query was not.
 */
export function initialEditors() {
  const active = storedTab();
  if (!active) return { initialVariables: defaultTabs[0].variables };
  return {
    initialQuery: active.query ?? '',
    initialVariables: active.variables ?? '',
    initialHeaders: keepsHeaders() ? (active.headers ?? '') : undefined,
  };
}

function storedTab() {
  try {
    const { tabs, activeTabIndex } = JSON.parse(localStorage.getItem('graphiql:tabState'));
    return tabs[activeTabIndex];
  } catch {
    return undefined; // nothing is stored, or something else
  }
}
