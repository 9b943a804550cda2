// The urql client of one signed-in user: cache, retries, tokens, HTTP and WebSocket.

import { Client, type CombinedError, fetchExchange, subscriptionExchange } from '@urql/core';
import { authExchange } from '@urql/exchange-auth';
import { type Cache, cacheExchange } from '@urql/exchange-graphcache';
import { retryExchange } from '@urql/exchange-retry';
import { createClient } from 'graphql-ws';
import { useEffect } from 'react';
import type { TaskChangesSubscription, ToggleTaskMutationVariables } from './gql/graphql';
import { API, codeOf, currentSession, expiresSoon, freshToken, refresh } from './session';

const reconnected = new EventTarget();

/** Calls back after the socket was lost: changes that happened in the meantime were not sent. */
export function useReconnected(callback: () => void) {
  useEffect(() => {
    reconnected.addEventListener('reconnected', callback);
    return () => reconnected.removeEventListener('reconnected', callback);
  });
}

/** Makes the queries on screen fetch these fields again; `only` chooses by their arguments. */
function outdate(cache: Cache, names: string[], only = (_filter: unknown) => true) {
  for (const { fieldName, fieldKey, arguments: args } of cache.inspectFields('Query')) {
    if (names.includes(fieldName) && only(args?.['filter'])) cache.invalidate('Query', fieldKey);
  }
}

const outdateTasks = (cache: Cache) => outdate(cache, ['tasks', 'taskStats']);

/** A list without a filter needs no request: its tasks have changed in the cache. */
function outdateFilteredTasks(cache: Cache) {
  outdate(cache, ['tasks'], Boolean);
  outdate(cache, ['taskStats']);
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
        createTask: (_result, _args, cache) => outdateTasks(cache),
        deleteTask: (_result, _args, cache) => outdateTasks(cache),
        toggleTask(_result, _args, cache, { optimistic }) {
          if (!optimistic) outdateFilteredTasks(cache);
        },
        createBucket: (_result, _args, cache) => outdate(cache, ['buckets']),
        saveConnection: (_result, _args, cache) => outdate(cache, ['connections']),
      },
      Subscription: {
        taskChanged({ taskChanged }: TaskChangesSubscription, _args, cache) {
          if (taskChanged.kind === 'UPDATED') outdateFilteredTasks(cache);
          else outdateTasks(cache);
        },
      },
    },
  });

const TEMPORARY = new Set<unknown>(['OVERLOADED', 'UNAVAILABLE', 'RATE_LIMITED']);
const isTemporary = (error: CombinedError) => Boolean(error.networkError) || TEMPORARY.has(codeOf(error));

const isExpiry = (errors: unknown) => Array.isArray(errors) && errors[0]?.extensions?.code === 'UNAUTHENTICATED';

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

  const client = new Client({
    url: API,
    preferGetMethod: false,
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
  return { client, dispose: () => socket.dispose() };
}
