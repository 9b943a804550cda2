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
const PARTIAL = '{ hello meet(trouble: FIELD) }'; // 294
const REFUSED = '{ nothing }'; // 422
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

/** The token expires, and the library subscribes again with a new one: its user does not notice. */
async function graphqlWsAfterExpiry() {
  const tokens = ['ann-brief', 'ann'];
  const closes = [];
  const client = createWsClient({
    url: url.replace('http', 'ws'),
    webSocketImpl: WebSocket,
    connectionParams: async () => ({ Authorization: `Bearer ${tokens.shift()}` }),
    retryWait: async () => {}, // by default 1.3 to 4 seconds
    on: { closed: (event) => closes.push(event) },
  });
  const values = await new Promise((resolve, reject) => {
    const seen = [];
    const next = ({ data }) => seen.push(data.forever) === 2 && resolve(seen);
    const complete = () => reject(new Error('the subscription has ended'));
    client.subscribe({ query: 'subscription { forever }' }, { next, error: reject, complete });
  });
  assert.deepEqual(values, [ANN, ANN]);
  const [{ code, reason }] = closes;
  assert.equal(code, 4403);
  assert.match(reason, /^The access token has expired\. .*refreshSession/);
  await client.dispose();
}

/** Without a new token the library gives up, and its user gets the close event. */
async function graphqlWsWithoutRenewal() {
  const tokens = ['ann-brief'];
  const client = createWsClient({
    url: url.replace('http', 'ws'),
    webSocketImpl: WebSocket,
    connectionParams: () => ({ Authorization: `Bearer ${tokens.shift() ?? 'expired'}` }),
    retryAttempts: 2,
    retryWait: async () => {},
  });
  const ended = collected((sink) => client.subscribe({ query: 'subscription { forever }' }, sink));
  await assert.rejects(ended, ({ code, reason }) => code === 4403 && reason.startsWith('The token is not valid.'));
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
  const partial = await client.query(PARTIAL, {}).toPromise();
  assert.equal(partial.data.hello, 'Hello, you!');
  assert.equal(partial.error.graphQLErrors[0].extensions.field, 'name');
  const refused = await client.query(REFUSED, {}).toPromise();
  assert.equal(refused.error.graphQLErrors[0].extensions.code, 'BAD_USER_INPUT');
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
  const partial = await client.query({ query: gql(PARTIAL), errorPolicy: 'all' });
  assert.equal(partial.data.hello, 'Hello, you!');
  assert.equal(partial.error.errors[0].extensions.field, 'name');
  await assert.rejects(
    client.query({ query: gql(REFUSED) }),
    ({ errors: [error] }) => error.extensions.code === 'BAD_USER_INPUT'
  );
  const counted = await collected((sink) => client.subscribe({ query: gql(COUNT) }).subscribe(sink));
  assert.deepEqual(numbers(counted), [1, 2, 3]);
}

/** As the network layers of Relay: fetch without a choice of media type, which gets 200 for data with errors. */
async function plainFetch() {
  const ask = (method, query) =>
    fetch(url, { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ query }) });
  const partial = await ask('POST', PARTIAL);
  assert.equal(partial.status, 200);
  assert.equal((await partial.json()).data.hello, 'Hello, you!');
  assert.equal((await ask('POST', REFUSED)).status, 422);
  const large = await ask('QUERY', `{ ${Array.from({ length: 45 }, (_, n) => `a${n}: hello(name: "everybody")`).join(' ')} }`);
  assert.equal(large.headers.get('content-encoding'), 'gzip');
  assert.equal((await large.json()).data.a44, 'Hello, everybody!');
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
  graphqlWsAfterExpiry,
  graphqlWsWithoutRenewal,
  graphqlSseDistinctConnections,
  graphqlSseSingleConnection,
  urql,
  apollo,
  plainFetch,
  apolloPersisted,
];
for (const check of checks) {
  await check();
  console.log(`${check.name} works`);
}
