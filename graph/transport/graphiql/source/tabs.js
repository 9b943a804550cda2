// The tabs of the page: examples at a first visit, then those that GraphiQL keeps in localStorage.
// A link such as /graphql?query=...&variables=...&operationName=... opens one more, and runs nothing.

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

const link = new URLSearchParams(location.search);
const linkedTab = link.get('query') && {
  query: link.get('query'),
  variables: link.get('variables') ?? '',
};

/** The operation to point to in the tab of the link, or null. */
export const linkedOperation = linkedTab && link.get('operationName');

const examples = Object.keys(documents)
  .sort()
  .map((name) => ({
    query: documents[name],
    variables: variables[name.replace('.graphql', '.json')],
  }));

export const defaultTabs = linkedTab ? [linkedTab, ...examples] : examples;

/**
 * What the editors show first. GraphiQL leaves out the variables of the first default tab, and adds
 * an empty tab after a reload if variables were edited and the query was not.
 */
export function initialEditors() {
  if (linkedTab) return { initialQuery: linkedTab.query, initialVariables: linkedTab.variables };
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
