// What frontends use, against a server of the toy schema: node clients.mjs URL
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { ApolloClient, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { Client, fetchExchange } from '@urql/core';
import { createClient as createSseClient } from 'graphql-sse';
import { createClient as createWsClient } from 'graphql-ws';
import WebSocket from 'ws';

const url = process.argv[2];
const headers = { authorization: 'Bearer ann' };
const QUERY = '{ whoami }';
const COUNT = 'subscription { count(to: 3) }';
const BROKEN = 'subscription { broken(trouble: FIELD) }';
const ANN = '00000000-0000-0000-0000-000000000001';

/** Collects what an observable of any of these libraries gives until it ends. */
const collected = (subscribe) =>
  new Promise((resolve, reject) => {
    const values = [];
    subscribe({ next: (value) => values.push(value), error: reject, complete: () => resolve(values) });
  });

const numbers = (results) => results.map(({ data }) => data.count);

async function graphqlWs() {
  const client = createWsClient({
    url: url.replace('http', 'ws'),
    webSocketImpl: WebSocket,
    connectionParams: { Authorization: headers.authorization },
    retryAttempts: 0,
  });
  const run = (query) => collected((sink) => client.subscribe({ query }, sink));
  const [answer] = await run(QUERY);
  assert.deepEqual(answer, { data: { whoami: ANN } });
  const [counted, counting] = await Promise.all([run(COUNT), run(COUNT)]);
  assert.deepEqual(numbers(counted), [1, 2, 3]);
  assert.deepEqual(numbers(counting), [1, 2, 3]);
  await assert.rejects(run(BROKEN), ([error]) => error.extensions.field === 'name');
  await assert.rejects(run('{ nothing }'), ([error]) => error.extensions.code === 'BAD_USER_INPUT');
  await client.dispose();
}

async function checkSse(singleConnection) {
  const client = createSseClient({ url, headers: { ...headers }, retryAttempts: 0, singleConnection });
  const run = (query) => collected((sink) => client.subscribe({ query }, sink));
  assert.deepEqual(await run(QUERY), [{ data: { whoami: ANN } }]);
  assert.deepEqual(numbers(await run(COUNT)), [1, 2, 3]);
  const [counted, counting] = await Promise.all([run(COUNT), run(COUNT)]);
  assert.deepEqual([numbers(counted), numbers(counting)], [[1, 2, 3], [1, 2, 3]]);
  const [, last] = await run(BROKEN);
  assert.equal(last.errors[0].extensions.field, 'name');
  const [refused] = await run('{ nothing }');
  assert.equal(refused.errors[0].extensions.code, 'BAD_USER_INPUT');
  await new Promise((resolve, reject) => {
    const sink = { next: () => stop(), error: reject, complete: resolve };
    const stop = client.subscribe({ query: 'subscription { forever }' }, sink);
  });
  assert.deepEqual(await run(QUERY), [{ data: { whoami: ANN } }]);
  client.dispose();
}

async function graphqlSseDistinctConnections() {
  await checkSse(false);
}

async function graphqlSseSingleConnection() {
  await checkSse(true);
}

async function urql() {
  const client = new Client({
    url,
    exchanges: [fetchExchange],
    fetchSubscriptions: true,
    preferGetMethod: false,
    fetchOptions: { headers },
  });
  const answer = await client.query(QUERY, {}).toPromise();
  assert.equal(answer.data?.whoami, ANN, answer.error);
  const counted = await new Promise((resolve, reject) => {
    const seen = [];
    client.subscription(COUNT, {}).subscribe(({ data, error }) => {
      if (error) reject(error);
      seen.push(data.count);
      if (seen.length === 3) resolve(seen);
    });
  });
  assert.deepEqual(counted, [1, 2, 3]);
}

async function apollo() {
  const link = new HttpLink({ uri: url, headers });
  const client = new ApolloClient({ link, cache: new InMemoryCache() });
  const { data } = await client.query({ query: gql(QUERY) });
  assert.deepEqual(data, { whoami: ANN });
  const counted = await collected((sink) => client.subscribe({ query: gql(COUNT) }).subscribe(sink));
  assert.deepEqual(numbers(counted), [1, 2, 3]);
}

async function apolloPersisted() {
  const requests = [];
  const counting = (uri, options) => {
    requests.push(`${options.method} ${uri.includes('query=') || (options.body ?? '').includes('"query"')}`);
    return fetch(uri, options);
  };
  const sha256 = async (text) => createHash('sha256').update(text).digest('hex');
  for (const useGETForHashedQueries of [false, true]) {
    const ask = async () => {
      const link = new PersistedQueryLink({ sha256, useGETForHashedQueries }).concat(
        new HttpLink({ uri: url, headers, fetch: counting })
      );
      const client = new ApolloClient({ link, cache: new InMemoryCache() });
      const query = gql(`query Persisted${useGETForHashedQueries} { whoami }`);
      const { data } = await client.query({ query });
      assert.deepEqual(data, { whoami: ANN });
    };
    requests.length = 0;
    await ask();
    const byHash = `${useGETForHashedQueries ? 'GET' : 'POST'} false`;
    assert.equal(requests.length, 2);
    assert.equal(requests[0], byHash); // not found: the text is sent along
    assert.match(requests[1], /true$/);
    requests.length = 0;
    await ask(); // another client, which knows nothing of the first
    assert.deepEqual(requests, [byHash]);
  }
}

const checks = [
  graphqlWs,
  graphqlSseDistinctConnections,
  graphqlSseSingleConnection,
  urql,
  apollo,
  apolloPersisted,
];
for (const check of checks) {
  await check();
  console.log(`${check.name} works`);
}
