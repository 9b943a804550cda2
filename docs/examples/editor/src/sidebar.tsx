// Step 1: schemas, their tables and columns, and a search box over all of them.

import { type ReactNode, useDeferredValue, useState } from 'react';
import { useQuery } from 'urql';
import { graphql } from './gql';
import type { SearchKind } from './gql/graphql';
import { Problem } from './parts';

const Schemas = graphql(`query Schemas($id: ID!) {
  connection(id: $id) { schemas(first: 100) { nodes { id name } } }
}`);
const Tables = graphql(`query Tables($id: ID!, $schema: String!, $after: String) {
  connection(id: $id) { schema(name: $schema) {
    tables(first: 100, after: $after) { nodes { id name kind } pageInfo { hasNextPage endCursor } }
  } }
}`);
const Columns = graphql(`query Columns($id: ID!, $schema: String!, $table: String!) {
  connection(id: $id) { table(schemaName: $schema, tableName: $table) {
    columns { name type isPrimaryKey }
  } }
}`);
const Search = graphql(`query Search($id: ID!, $text: String!) {
  connection(id: $id) { search(text: $text, first: 30) { kind schemaName name parentName detail } }
}`);

const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;
const pathOf = (kind: SearchKind, schemaName: string, name: string) =>
  kind === 'SCHEMA' || kind === 'COLUMN' ? quote(name) : `${quote(schemaName)}.${quote(name)}`;

type SidebarProps = { connectionId: string; append: (name: string) => void };

export function Sidebar({ connectionId, append }: SidebarProps) {
  const [typed, setTyped] = useState('');
  const text = useDeferredValue(typed.trim());
  return (
    <aside>
      <input
        type="search"
        aria-label="Search"
        placeholder="Search"
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
      />
      {text ? <Found id={connectionId} text={text} append={append} /> : <SchemaList id={connectionId} />}
    </aside>
  );
}

function Found({ id, text, append }: { id: string; text: string; append: (name: string) => void }) {
  const [{ data, error }] = useQuery({ query: Search, variables: { id, text } });
  return (
    <ul>
      <Problem error={error} />
      {data?.connection?.search?.map(({ kind, schemaName, name, parentName, detail }) => (
        <li key={[kind, schemaName, parentName, name, detail].join()}>
          <button className="link" onClick={() => append(pathOf(kind, schemaName, name))}>{name}</button>
          <small> {kind.toLowerCase()} {[parentName, detail].filter(Boolean).join(' ')}</small>
        </li>
      ))}
    </ul>
  );
}

/** Its content is fetched when it is opened for the first time. */
function Branch({ label, children }: { label: string; children: ReactNode }) {
  const [opened, setOpened] = useState(false);
  return (
    <details onToggle={() => setOpened(true)}>
      <summary>{label}</summary>
      {opened && children}
    </details>
  );
}

function SchemaList({ id }: { id: string }) {
  const [{ data, error }] = useQuery({ query: Schemas, variables: { id } });
  return (
    <>
      <Problem error={error} />
      {data?.connection?.schemas?.nodes.map(({ id: key, name }) => (
        <Branch key={key} label={name}><TableList id={id} schema={name} after={null} /></Branch>
      ))}
    </>
  );
}

function TableList({ id, schema, after }: { id: string; schema: string; after: string | null }) {
  const [{ data, error }] = useQuery({ query: Tables, variables: { id, schema, after } });
  const [isLast, setIsLast] = useState(true);
  const tables = data?.connection?.schema?.tables;
  const { hasNextPage = false, endCursor = null } = tables?.pageInfo ?? {};
  return (
    <>
      <Problem error={error} />
      {tables?.nodes.map(({ id: key, name }) => (
        <Branch key={key} label={name}><ColumnList id={id} schema={schema} table={name} /></Branch>
      ))}
      {hasNextPage && isLast && <button onClick={() => setIsLast(false)}>More</button>}
      {hasNextPage && !isLast && <TableList id={id} schema={schema} after={endCursor} />}
    </>
  );
}

function ColumnList({ id, schema, table }: { id: string; schema: string; table: string }) {
  const [{ data, error }] = useQuery({ query: Columns, variables: { id, schema, table } });
  return (
    <ul>
      <Problem error={error} />
      {data?.connection?.table?.columns?.map(({ name, type, isPrimaryKey }) => (
        <li key={name}>{isPrimaryKey ? <strong>{name}</strong> : name} <small>{type}</small></li>
      ))}
    </ul>
  );
}
