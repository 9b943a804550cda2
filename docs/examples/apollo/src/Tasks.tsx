import type { ApolloCache } from '@apollo/client';
import { useMutation, useQuery, useSubscription } from '@apollo/client/react';
import { useState } from 'react';
import { graphql, type ResultOf } from './graphql';
import { ErrorNote, Field, valuesOf } from './parts';

const TASK = graphql(`fragment TaskItem on Task { __typename id title completed version }`);
type Task = ResultOf<typeof TASK>;

const TASKS = graphql(
  `query Tasks($after: String) {
    tasks(first: 20, after: $after) {
      edges { __typename node { ...TaskItem } }
      pageInfo { hasNextPage endCursor }
      totalCount
    }
  }`,
  [TASK],
);
const CREATE = graphql(
  `mutation CreateTask($input: CreateTaskInput!) { createTask(input: $input) { task { ...TaskItem } } }`,
  [TASK],
);
const TOGGLE = graphql(
  `mutation ToggleTask($input: ToggleTaskInput!) { toggleTask(input: $input) { __typename task { ...TaskItem } } }`,
  [TASK],
);
const DELETE = graphql(`mutation DeleteTask($input: DeleteTaskInput!) { deleteTask(input: $input) { deletedTaskId } }`);
const CHANGES = graphql(
  `subscription TaskChanges { taskChanged { kind taskId task { ...TaskItem } } }`,
  [TASK],
);

/** Adds a task once: the response and the event of `createTask` both bring it. */
function addTask(cache: ApolloCache, task: Task) {
  cache.updateQuery({ query: TASKS }, (data) => {
    if (!data?.tasks || data.tasks.edges.some(({ node }) => node.id === task.id)) return data;
    const { edges, totalCount, ...rest } = data.tasks;
    const edge = { __typename: 'TaskEdge' as const, node: task };
    return { ...data, tasks: { ...rest, totalCount: totalCount + 1, edges: [edge, ...edges] } };
  });
}

function removeTask(cache: ApolloCache, id: string) {
  cache.updateQuery({ query: TASKS }, (data) => {
    if (!data?.tasks?.edges.some(({ node }) => node.id === id)) return data;
    const { edges, totalCount, ...rest } = data.tasks;
    const kept = edges.filter(({ node }) => node.id !== id);
    return { ...data, tasks: { ...rest, totalCount: totalCount - 1, edges: kept } };
  });
}

/** Follows the changes of all tabs and devices. An updated task needs no code: Apollo stores it by its ID. */
function useLiveTasks(refetch: () => unknown) {
  useSubscription(CHANGES, {
    onData: ({ client, data: { data } }) => {
      if (!data) return;
      const { kind, taskId, task } = data.taskChanged;
      if (kind === 'IMPORTED') refetch();
      else if (kind === 'CREATED' && task) addTask(client.cache, task);
      else if (!task && taskId) removeTask(client.cache, taskId);
    },
  });
}

export function Tasks() {
  const { data, error, fetchMore, refetch } = useQuery(TASKS);
  const [failure, setFailure] = useState<unknown>();
  const [create, creating] = useMutation(CREATE, {
    update: (cache, { data }) => data?.createTask && addTask(cache, data.createTask.task),
  });
  useLiveTasks(refetch);

  function submit(event: React.FormEvent<HTMLFormElement>) {
    const { title = '' } = valuesOf(event, true);
    const input = { title, idempotencyKey: crypto.randomUUID() }; // a retry does not create a second task
    create({ variables: { input } }).catch(() => {});
  }

  const tasks = data?.tasks;
  return (
    <section>
      <h1>Tasks {tasks && <small>{tasks.totalCount}</small>}</h1>
      <form className="row" onSubmit={submit}>
        <Field label="New task" name="title" maxLength={200} />
        <button>Add</button>
      </form>
      <ErrorNote error={error ?? creating.error ?? failure} />
      <ul className="list">
        {tasks?.edges.map(({ node }) => <TaskRow key={node.id} task={node} />)}
      </ul>
      {tasks?.pageInfo.hasNextPage && (
        <button onClick={() => void fetchMore({ variables: { after: tasks.pageInfo.endCursor } }).catch(setFailure)}>
          More
        </button>
      )}
    </section>
  );
}

function TaskRow({ task }: { task: Task }) {
  const [toggle, toggling] = useMutation(TOGGLE);
  const [remove, removing] = useMutation(DELETE, { update: (cache) => removeTask(cache, task.id) });

  function change() {
    const toggled = { ...task, completed: !task.completed, version: task.version + 1 };
    toggle({
      variables: { input: { id: task.id, expectedVersion: task.version } }, // a retry does not toggle twice
      optimisticResponse: { toggleTask: { __typename: 'ToggleTaskPayload', task: toggled } },
    }).catch(() => toggling.client.refetchQueries({ include: [TASKS] })); // after `CONFLICT` the version here is old
  }

  return (
    <li>
      <label className="check">
        <input type="checkbox" checked={task.completed} onChange={change} />
        {task.title}
      </label>
      <button
        className="plain"
        aria-label={`Delete ${task.title}`}
        onClick={() => void remove({ variables: { input: { id: task.id } } }).catch(() => {})}
      >
        Delete
      </button>
      <ErrorNote error={toggling.error ?? removing.error} />
    </li>
  );
}
