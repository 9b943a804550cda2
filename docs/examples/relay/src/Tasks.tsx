import { useEffect, useMemo } from 'react';
import {
  ConnectionHandler, fetchQuery, graphql, useFragment, useLazyLoadQuery, usePaginationFragment, useRelayEnvironment,
  useSubscription,
} from 'react-relay';
import type { Environment, GraphQLSubscriptionConfig, RecordSourceSelectorProxy } from 'relay-runtime';
import type { Tasks_list$key } from './__generated__/Tasks_list.graphql';
import type { Tasks_row$key } from './__generated__/Tasks_row.graphql';
import type { TasksChangesSubscription } from './__generated__/TasksChangesSubscription.graphql';
import type { TasksCountQuery } from './__generated__/TasksCountQuery.graphql';
import type { TasksCreateMutation } from './__generated__/TasksCreateMutation.graphql';
import type { TasksDeleteMutation } from './__generated__/TasksDeleteMutation.graphql';
import type { TasksPageQuery } from './__generated__/TasksPageQuery.graphql';
import type { TasksQuery } from './__generated__/TasksQuery.graphql';
import type { TasksToggleMutation } from './__generated__/TasksToggleMutation.graphql';
import { ErrorNote, Field, useAction, valuesOf } from './parts';

const QUERY = graphql`query TasksQuery { ...Tasks_list taskStats { total } }`;
const COUNT = graphql`query TasksCountQuery { taskStats { total } }`;
const LIST = graphql`
  fragment Tasks_list on Query
  @argumentDefinitions(first: { type: "Int", defaultValue: 20 }, after: { type: "String" })
  @refetchable(queryName: "TasksPageQuery") {
    tasks(first: $first, after: $after) @connection(key: "Tasks_tasks") {
      __id
      edges { node { id ...Tasks_row } }
    }
  }
`;
const ROW = graphql`fragment Tasks_row on Task { id title completed version }`;
const CHANGES = graphql`
  subscription TasksChangesSubscription { taskChanged { kind taskId task { id ...Tasks_row } } }
`;

/** Follows the changes of all tabs and devices. An updated task needs no code: Relay stores it by its ID. */
function useLiveTasks(connectionId: string) {
  const environment = useRelayEnvironment();
  const config = useMemo<GraphQLSubscriptionConfig<TasksChangesSubscription>>(
    () => ({
      subscription: CHANGES,
      variables: {},
      updater: (store, response) => response && applyChange(store, connectionId, response),
      onNext: (response) => {
        const query = response?.taskChanged.kind === 'IMPORTED' ? QUERY : COUNT;
        fetchQuery<TasksCountQuery>(environment, query, {}).subscribe({});
      },
    }),
    [environment, connectionId],
  );
  useSubscription(config);

  // Changes are not sent while the socket is closed: fetch the list when it is open again.
  useEffect(() => {
    const connected = () => reload(environment);
    addEventListener('howdah.connected', connected);
    return () => removeEventListener('howdah.connected', connected);
  }, [environment]);
}

function applyChange(
  store: RecordSourceSelectorProxy,
  connectionId: string,
  { taskChanged: { kind, taskId, task } }: TasksChangesSubscription['response'],
) {
  const connection = store.get(connectionId);
  const record = task && store.get(task.id);
  if (!connection || !taskId) return;
  if (!record) return ConnectionHandler.deleteNode(connection, taskId);
  // The response of `createTask` may have added the task already.
  const isListed = connection.getLinkedRecords('edges')?.some((edge) => edge.getLinkedRecord('node') === record);
  if (kind !== 'CREATED' || isListed) return;
  ConnectionHandler.insertEdgeBefore(connection, ConnectionHandler.createEdge(store, connection, record, 'TaskEdge'));
}

export function Tasks() {
  const query = useLazyLoadQuery<TasksQuery>(QUERY, {}, { fetchPolicy: 'store-and-network' });
  const { data, hasNext, loadNext } = usePaginationFragment<TasksPageQuery, Tasks_list$key>(LIST, query);
  const connectionId = data.tasks?.__id ?? '';
  useLiveTasks(connectionId);
  const [create, error] = useAction<TasksCreateMutation>(graphql`
    mutation TasksCreateMutation($input: CreateTaskInput!, $connections: [ID!]!) {
      createTask(input: $input) {
        task @prependNode(connections: $connections, edgeTypeName: "TaskEdge") { id ...Tasks_row }
      }
    }
  `);

  function submit(event: React.FormEvent<HTMLFormElement>) {
    const { title = '' } = valuesOf(event, true);
    const input = { title, idempotencyKey: crypto.randomUUID() }; // a retry does not create a second task
    create({ variables: { input, connections: [connectionId] } });
  }

  return (
    <section>
      <h1>
        Tasks <small>{query.taskStats?.total}</small>
      </h1>
      <form className="row" onSubmit={submit}>
        <Field label="New task" name="title" maxLength={200} />
        <button>Add</button>
      </form>
      <ErrorNote error={error} />
      <ul className="list">
        {data.tasks?.edges.map(({ node }) => (
          <TaskRow key={node.id} taskRef={node} connectionId={connectionId} />
        ))}
      </ul>
      {hasNext && <button onClick={() => loadNext(20)}>More</button>}
    </section>
  );
}

/** Fetches the first page again. */
const reload = (environment: Environment) => void fetchQuery<TasksQuery>(environment, QUERY, {}).subscribe({});

function TaskRow({ taskRef, connectionId }: { taskRef: Tasks_row$key; connectionId: string }) {
  const environment = useRelayEnvironment();
  const { id, title, completed, version } = useFragment(ROW, taskRef);
  const [toggle, toggleError] = useAction<TasksToggleMutation>(graphql`
    mutation TasksToggleMutation($input: ToggleTaskInput!) {
      toggleTask(input: $input) { task { id completed version } }
    }
  `);
  const [remove, removeError] = useAction<TasksDeleteMutation>(graphql`
    mutation TasksDeleteMutation($input: DeleteTaskInput!, $connections: [ID!]!) {
      deleteTask(input: $input) { deletedTaskId @deleteEdge(connections: $connections) }
    }
  `);

  function change() {
    toggle({
      variables: { input: { id, expectedVersion: version } }, // a retry does not toggle twice
      optimisticResponse: { toggleTask: { task: { id, completed: !completed, version: version + 1 } } },
      onError: () => reload(environment), // after `CONFLICT` the version here is old
    });
  }

  return (
    <li>
      <label className="check">
        <input type="checkbox" checked={completed} onChange={change} />
        {title}
      </label>
      <button
        className="plain"
        aria-label={`Delete ${title}`}
        onClick={() => remove({ variables: { input: { id }, connections: [connectionId] } })}
      >
        Delete
      </button>
      <ErrorNote error={toggleError ?? removeError} />
    </li>
  );
}
