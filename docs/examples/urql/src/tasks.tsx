// Tasks: a list in pages that stays current, with toggles that show at once.

import { useDeferredValue, useState } from 'react';
import { useClient, useMutation, useQuery, useSubscription } from 'urql';
import { useReconnected } from './client';
import { graphql } from './gql';
import type { TaskFilter, TaskItemFragment } from './gql/graphql';
import { FRESH, fields, More, Problem } from './parts';
import { codeOf } from './session';

graphql(`fragment TaskItem on Task { id title description completed version }`);
const TaskPage = graphql(`query TaskPage($after: String, $filter: TaskFilter) {
  tasks(first: 50, after: $after, filter: $filter) {
    nodes { ...TaskItem }
    pageInfo { hasNextPage endCursor }
  }
}`);
const OneTask = graphql(`query OneTask($id: ID!) { task(id: $id) { ...TaskItem } }`);
const TaskCounts = graphql(`query TaskCounts { taskStats { total open } }`);
const CreateTask = graphql(`mutation CreateTask($input: CreateTaskInput!) {
  createTask(input: $input) { task { ...TaskItem } }
}`);
const ToggleTask = graphql(`mutation ToggleTask($input: ToggleTaskInput!) {
  toggleTask(input: $input) { task { id completed version } }
}`);
const DeleteTask = graphql(`mutation DeleteTask($input: DeleteTaskInput!) {
  deleteTask(input: $input) { deletedTaskId }
}`);
const TaskChanges = graphql(`subscription TaskChanges { taskChanged { kind taskId task { ...TaskItem } } }`);

function Task({ task }: { task: TaskItemFragment }) {
  const client = useClient();
  const [toggled, toggle] = useMutation(ToggleTask);
  const [deleted, remove] = useMutation(DeleteTask);
  async function change() {
    const { error } = await toggle({ input: { id: task.id, expectedVersion: task.version } });
    // Another client was faster. urql has rolled the toggle back; fetch what the other one made of the task.
    if (codeOf(error) === 'CONFLICT') await client.query(OneTask, { id: task.id }, FRESH).toPromise();
  }
  return (
    <li className={task.completed ? 'task done' : 'task'}>
      <label>
        <input type="checkbox" checked={task.completed} disabled={toggled.fetching} onChange={change} />
        {task.title} <small>{task.description}</small>
      </label>
      <button aria-label={`Delete ${task.title}`} onClick={() => remove({ input: { id: task.id } })}>×</button>
      <Problem error={toggled.error ?? deleted.error} />
    </li>
  );
}

/** One page, and the next ones below it. A page starts where the page before it ends now, so none is missed. */
function Page({ filter, after }: { filter: TaskFilter | null; after: string | null }) {
  const [{ data, error }, refetch] = useQuery({ query: TaskPage, variables: { filter, after } });
  const [isLast, setIsLast] = useState(true);
  useReconnected(() => refetch(FRESH));
  const { hasNextPage = false, endCursor = null } = data?.tasks?.pageInfo ?? {};
  return (
    <>
      {error && <li><Problem error={error} /></li>}
      {data?.tasks?.nodes.map((task) => <Task key={task.id} task={task} />)}
      {hasNextPage && !isLast && <Page filter={filter} after={endCursor} />}
      {hasNextPage && isLast && <li><More load={() => setIsLast(false)} /></li>}
    </>
  );
}

export function TasksPage() {
  const [search, setSearch] = useState('');
  const [completed, setCompleted] = useState<boolean | null>(null);
  const text = useDeferredValue(search) || null;
  const filter = text === null && completed === null ? null : { search: text, completed };
  const counts = useQuery({ query: TaskCounts })[0].data?.taskStats;
  const [created, create] = useMutation(CreateTask);
  const [{ error: lost }] = useSubscription({ query: TaskChanges });

  async function add(form: HTMLFormElement) {
    const field = fields(form);
    const input = { title: field('title'), description: field('description') || null };
    const { error } = await create({ input: { ...input, idempotencyKey: crypto.randomUUID() } });
    if (!error) form.reset();
  }

  return (
    <section className="narrow">
      <h1>Tasks {counts && <small>{counts.open} of {counts.total} open</small>}</h1>
      <form className="row" onSubmit={(event) => (event.preventDefault(), add(event.currentTarget))}>
        <input name="title" aria-label="Title" placeholder="New task" />
        <input name="description" aria-label="Description" placeholder="Details" />
        <button className="primary" disabled={created.fetching}>Add</button>
      </form>
      <Problem error={created.error ?? lost} />
      <div className="row">
        <input
          type="search"
          aria-label="Search"
          placeholder="Search"
          value={search}
          onChange={(event) => setSearch(event.target.value)}
        />
        <select
          aria-label="Show"
          value={String(completed)}
          onChange={(event) => setCompleted(JSON.parse(event.target.value))}
        >
          <option value="null">All</option>
          <option value="false">Open</option>
          <option value="true">Completed</option>
        </select>
      </div>
      <ul className="list">
        <Page key={JSON.stringify(filter)} filter={filter} after={null} />
      </ul>
    </section>
  );
}
