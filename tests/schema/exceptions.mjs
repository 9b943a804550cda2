// What the linters report and we keep, with the reason. An exception that nothing needs fails
// the gate, as long as the schema has one of its `types`.
const DATABASE_CONNECTIONS = ['ActiveConnection', 'DatabaseConnection'];

export const exceptions = [
  {
    reason: 'A connection to a database, not a page of a list: PostgreSQL and Relay use the same word.',
    rules: ['relay-connection-types', 'relay-connection-types-spec'],
    types: DATABASE_CONNECTIONS,
    covers: ({ type, field }) => DATABASE_CONNECTIONS.includes(type) && !field,
  },
  {
    reason: 'Returns a connection to a database, not a page of a list.',
    rules: ['relay-arguments', 'relay-connection-arguments-spec'],
    types: DATABASE_CONNECTIONS,
    covers: ({ returns }) => DATABASE_CONNECTIONS.includes(returns),
  },
  {
    reason: 'A folder is a part of the locations of files. It has no row and no ID, and cannot be a Node.',
    rules: ['relay-edge-types'],
    types: ['FolderEdge'],
    covers: ({ type }) => type === 'FolderEdge',
  },
  {
    reason: 'A folder of saved queries is a part of their paths, and a version belongs to its query. Neither is fetched alone.',
    rules: ['relay-edge-types'],
    types: ['SavedQueryFolderEdge', 'SavedQueryVersionEdge'],
    covers: ({ type }) => ['SavedQueryFolderEdge', 'SavedQueryVersionEdge'].includes(type),
  },
  {
    reason: 'A data type of a connected database, such as an enum or a domain.',
    rules: ['naming-convention'],
    types: ['DatabaseType'],
    covers: ({ type, field }) => type === 'DatabaseType' && !field,
  },
  {
    reason: 'A query run is an execution of SQL and a saved query its text: `query` does not name the root type here.',
    rules: ['naming-convention', 'no-typename-prefix'],
    types: ['Query'],
    covers: ({ type, field }) => type === 'Query' && ['queryRun', 'queryRuns', 'savedQuery'].includes(field),
  },
];
