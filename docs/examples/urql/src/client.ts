// The urql client of one signed-in user: cache, retries, tokens, HTTP and WebSocket.

import { Client, type CombinedError, fetchExchange, subscriptionExchange } from '@urql/core';
import { authExchange } from '@urql/exchange-auth';
import { type Cache, cacheExchange, type Entity, type FieldArgs } from '@urql/exchange-graphcache';
import { retryExchange } from '@urql/exchange-retry';
import { createClient } from 'graphql-ws';
import { useEffect } from 'react';
import type { CreateFileMutation, TaskChangesSubscription, ToggleTaskMutationVariables } from './gql/graphql';
import { API, codeOf, currentSession, expiresSoon, freshToken, refresh } from './session';

const reconnected = new EventTarget();

/** Calls back after the socket was lost: changes that happened in the meantime were not sent. */
export function useReconnected(callback: () => void) {
  useEffect(() => {
    reconnected.addEventListener('reconnected', callback);
    return () => reconnected.removeEventListener('reconnected', callback);
  });
}

type Chosen = (args: FieldArgs) => boolean;

/** Makes the queries on screen fetch a field again, with all arguments or with those chosen. */
function outdate(cache: Cache, name: string, entity: Entity = 'Query', isChosen: Chosen = () => true) {
  for (const { fieldName, fieldKey, arguments: args } of cache.inspectFields(entity)) {
    if (fieldName === name && isChosen(args)) cache.invalidate(entity, fieldKey);
  }
}

/** A list without a filter keeps its tasks when one is updated: it has changed in the cache. */
function outdateTasks(cache: Cache, isUpdate: boolean) {
  outdate(cache, 'tasks', 'Query', (args) => !isUpdate || Boolean(args?.['filter']));
  outdate(cache, 'taskStats');
}

const cache = () =>
  cacheExchange({
    // Only types with an `id` are shared by queries; the others are part of their parent.
    keys: {
      ResultColumn: () => null,
      RowPage: () => null,
      RunError: () => null,
      TableColumn: () => null,
      TaskStats: () => null,
      Truncation: () => null,
    },
    optimistic: {
      toggleTask({ input }: ToggleTaskMutationVariables, cache) {
        const task = { __typename: 'Task', id: input.id };
        return {
          __typename: 'ToggleTaskPayload',
          task: {
            ...task,
            completed: !cache.resolve(task, 'completed'),
            version: cache.resolve(task, 'version'),
          },
        };
      },
    },
    updates: {
      Mutation: {
        createTask: (_result, _args, cache) => outdateTasks(cache, false),
        deleteTask: (_result, _args, cache) => outdateTasks(cache, false),
        toggleTask(_result, _args, cache, { optimistic }) {
          if (!optimistic) outdateTasks(cache, true);
        },
        createBucket: (_result, _args, cache) => outdate(cache, 'buckets'),
        createFile({ createFile }: CreateFileMutation, _args, cache) {
          outdate(cache, 'files', { __typename: 'Bucket', id: createFile?.file.bucket?.id ?? null });
        },
        saveConnection: (_result, _args, cache) => outdate(cache, 'connections'),
      },
      Subscription: {
        taskChanged({ taskChanged }: TaskChangesSubscription, _args, cache) {
          outdateTasks(cache, taskChanged.kind === 'UPDATED');
        },
      },
    },
  });

const TEMPORARY = new Set<unknown>(['OVERLOADED', 'UNAVAILABLE', 'RATE_LIMITED']);
const isTemporary = (error: CombinedError) => Boolean(error.networkError) || TEMPORARY.has(codeOf(error));

const isExpiry = (errors: unknown) => Array.isArray(errors) && errors[0]?.extensions?.code === 'UNAUTHENTICATED';

/** Its socket opens with the first subscription and closes with the last one. */
export function makeClient() {
  let rejected = false;
  const socket = createClient({
    url: API.replace(/^http/, 'ws'),
    retryAttempts: Infinity,
    shouldRetry: () => true,
    connectionParams: async () => ({ Authorization: `Bearer ${await freshToken(rejected)}` }),
    on: {
      connected: (_socket, _payload, isRetry) => {
        rejected = false;
        if (isRetry) reconnected.dispatchEvent(new Event('reconnected'));
      },
      // 4403: the token of the connection has expired. graphql-ws connects again, with a new one.
      closed: (event) => (rejected = event instanceof CloseEvent && event.code === 4403),
    },
  });

  /** Before it closes the socket, the server ends each subscription with an error: that one subscribes again. */
  const subscribe: typeof socket.subscribe = (request, sink) => {
    let unsubscribe = socket.subscribe(request, {
      ...sink,
      error: (errors) => {
        if (isExpiry(errors)) unsubscribe = subscribe(request, sink);
        else sink.error(errors);
      },
    });
    return () => unsubscribe();
  };

  return new Client({
    url: API,
    preferGetMethod: false,
    requestPolicy: 'cache-and-network', // a page that is opened again shows what it has, then what is new
    exchanges: [
      cache(),
      // A mutation may be sent again too: each carries an idempotencyKey or an expectedVersion, or deletes by ID.
      retryExchange({ maxNumberAttempts: 4, retryIf: isTemporary }),
      authExchange(async ({ appendHeaders }) => ({
        addAuthToOperation(operation) {
          const token = currentSession()?.session.accessToken;
          return token ? appendHeaders(operation, { Authorization: `Bearer ${token}` }) : operation;
        },
        willAuthError: expiresSoon,
        didAuthError: (error) => codeOf(error) === 'UNAUTHENTICATED',
        refreshAuth: refresh,
      })),
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query = '', variables }) => ({
          subscribe: (sink) => ({ unsubscribe: subscribe({ query, variables }, sink) }),
        }),
      }),
    ],
  });
}
