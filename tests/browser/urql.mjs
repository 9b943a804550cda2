// Works with the example app docs/examples/urql as a person would, in two tabs of a real browser.
// Started by test_urql_app.py: node urql.mjs PAGE API KEY TARGET_JSON --chromium FILE --screenshots FOLDER

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: { chromium: { type: 'string' }, screenshots: { type: 'string' } },
});
const [pageUrl, api, key, targetJson] = positionals; // the key signs access tokens
const target = JSON.parse(targetJson);
const email = `ada-${Date.now()}@example.com`;
const password = 'correct horse battery';

/** Another client of the same user, without the page. */
let otherToken;
async function ask(query, variables = {}) {
  const headers = { 'content-type': 'application/json' };
  if (otherToken) headers.authorization = `Bearer ${otherToken}`;
  const response = await fetch(api, { method: 'POST', headers, body: JSON.stringify({ query, variables }) });
  const { data, errors } = await response.json();
  assert.equal(errors, undefined, JSON.stringify(errors));
  return data;
}
async function signInElsewhere() {
  const { signIn } = await ask(
    'mutation($input: SignInInput!) { signIn(input: $input) { session { accessToken } } }',
    { input: { email, password } },
  );
  otherToken = signIn.session.accessToken;
}

const browser = await chromium.launch({
  executablePath: options.chromium,
  args: [
    ...['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'],
    ...['--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows'], // two tabs work at once
  ],
});
const context = await browser.newContext({ viewport: { width: 1180, height: 780 }, acceptDownloads: true });
context.setDefaultTimeout(60_000);
const complaints = [];
const requests = [];

await context.addInitScript(() => {
  window.sockets = [];
  window.socketCloses = [];
  window.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      window.sockets.push(this);
      this.addEventListener('close', ({ code }) => window.socketCloses.push(code));
    }
  };
});
context.on('page', (page) => {
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'warning') complaints.push(message.text());
  });
  page.on('response', (response) => {
    if (response.request().method() !== 'POST') return;
    const { operationName } = response.request().postDataJSON();
    requests.push({ operationName, status: response.status() });
  });
});

const sent = (name, status = 200) =>
  requests.filter(({ operationName, status: its }) => operationName === name && its === status).length;
const shot = (page, name) => page.screenshot({ path: path.join(options.screenshots, `urql-${name}.png`) });
const alert = (page) => page.getByRole('alert');
const tasks = (page) => page.locator('li.task');
const task = (page, title) => tasks(page).filter({ hasText: title });

async function open() {
  const page = await context.newPage();
  await page.goto(`${pageUrl}/`);
  return page;
}

async function checkSignUp(page) {
  await page.getByLabel('E-mail').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await alert(page).waitFor(); // no such account
  await shot(page, 'sign-in');
  await page.getByRole('button', { name: 'Create an account' }).click();
  await page.getByLabel('Name').fill('Ada');
  await page.getByRole('button', { name: 'Sign up' }).click();
  await page.getByRole('heading', { name: 'Tasks' }).waitFor();
  await signInElsewhere();
}

async function checkTasks(page, other) {
  await page.getByLabel('Title').fill('Feed the elephant');
  await page.getByLabel('Description').fill('Hay, not peanuts');
  await page.getByRole('button', { name: 'Add' }).click();
  await task(page, 'Feed the elephant').waitFor();
  await task(other, 'Feed the elephant').waitFor(); // taskChanged: CREATED

  // The first answer is lost: the same request is sent again, and makes no second task.
  let isLost = false;
  const lose = async (route) => {
    if (isLost || route.request().postDataJSON()?.operationName !== 'CreateTask') return route.fallback();
    isLost = true;
    await route.fetch();
    await route.abort();
  };
  await page.route(api, lose);
  await page.getByLabel('Title').fill('Sent twice, made once');
  await page.getByRole('button', { name: 'Add' }).click();
  await page.waitForResponse((response) => response.request().postData()?.includes('CreateTask'));
  await page.unroute(api, lose);
  await page.getByText('2 of 2 open').waitFor();

  await page.getByLabel('Title').fill(' ');
  await page.getByRole('button', { name: 'Add' }).click();
  await alert(page).waitFor();

  const json = JSON.stringify(Array.from({ length: 130 }, (_, id) => ({ id, title: `Old task ${id}` })));
  await ask('mutation($json: String!) { importTasks(input: {json: $json}) { created } }', { json });
  await page.getByText('132 of 132 open').waitFor(); // taskChanged: IMPORTED
  await other.getByText('132 of 132 open').waitFor();
  while ((await tasks(page).count()) < 132) {
    const before = await tasks(page).count();
    await tasks(page).last().scrollIntoViewIfNeeded();
    await page.waitForFunction((count) => document.querySelectorAll('li.task').length > count, before);
  }
  const titles = await tasks(page).locator('label').allInnerTexts();
  assert.equal(new Set(titles).size, 132, 'every task is shown once');

  await page.getByLabel('Search').fill('elephant');
  await page.waitForFunction(() => document.querySelectorAll('li.task').length === 1);
  await page.getByLabel('Search').fill('');
}

async function taskId(search) {
  const { tasks } = await ask(
    'query($search: String) { tasks(first: 1, filter: {search: $search}) { nodes { id version } } }',
    { search },
  );
  return tasks.nodes[0].id;
}

/** Holds the next request of an operation until the block is done. */
async function whileHeld(page, name, block) {
  let release;
  const released = new Promise((resolve) => (release = resolve));
  const hold = async (route) => {
    if (route.request().postDataJSON()?.operationName !== name) return route.fallback();
    await released;
    await route.continue();
  };
  await page.route(api, hold);
  await block().finally(release);
  await page.waitForResponse((response) => response.request().postData()?.includes(name));
  await page.unroute(api, hold);
}
async function checkToggle(page, other) {
  const box = (where, title) => task(where, title).getByRole('checkbox');
  await whileHeld(page, 'ToggleTask', async () => {
    await box(page, 'Old task 129').click();
    await page.locator('li.done', { hasText: 'Old task 129' }).waitFor(); // before the server has answered
    assert.equal(await box(other, 'Old task 129').isChecked(), false);
  });
  await other.locator('li.done', { hasText: 'Old task 129' }).waitFor(); // taskChanged: UPDATED

  const id = await taskId('Old task 128');
  await whileHeld(page, 'ToggleTask', async () => {
    await box(page, 'Old task 128').click();
    await page.locator('li.done', { hasText: 'Old task 128' }).waitFor();
    await ask('mutation($input: UpdateTaskInput!) { updateTask(input: $input) { task { id } } }', {
      input: { id, title: 'Renamed elsewhere' },
    });
    await task(other, 'Renamed elsewhere').waitFor();
  });
  await task(page, 'Renamed elsewhere').getByRole('alert').waitFor(); // CONFLICT: rolled back
  assert.equal(await box(page, 'Renamed elsewhere').isChecked(), false);
  await shot(page, 'tasks');

  await page.getByLabel('Show').selectOption('Completed');
  await page.waitForFunction(() => document.querySelectorAll('li.task').length === 1);
  await ask('mutation($id: ID!) { toggleTask(input: {id: $id}) { task { id } } }', { id });
  await page.waitForFunction(() => document.querySelectorAll('li.task').length === 2); // a filtered list is fetched again
  // Graphcache 9.0.2 can miss a change that arrives in the instant in which the list's own response does.
  const loaded = page.waitForResponse((response) => response.request().postData()?.includes('TaskPage'));
  await page.getByLabel('Show').selectOption('All');
  await loaded;
  await task(page, 'Old task 100').waitFor();
  await ask('mutation($id: ID!) { deleteTask(input: {id: $id}) { deletedTaskId } }', { id });
  await task(page, 'Renamed elsewhere').waitFor({ state: 'detached' });
  await task(other, 'Renamed elsewhere').waitFor({ state: 'detached' });
}

/** A token that the server rejects: both tabs refresh at once, and go on. */
async function checkRefresh(page, other) {
  await holdToken(page, (token) => `${token}x`);
  const before = [sent('TaskPage', 401), sent('Refresh')];
  await Promise.all([page, other].map((tab, index) => tab.getByLabel('Search').fill(`Old task 1${index}`)));
  for (const [tab, count] of [[page, 11], [other, 11]]) {
    await tab.waitForFunction((count) => document.querySelectorAll('li.task').length === count, count);
    await tab.getByLabel('Search').fill('');
  }
  assert.ok(sent('TaskPage', 401) > before[0], 'the server has rejected the token');
  assert.ok(sent('Refresh') > before[1], 'the page has refreshed it');
}

async function run(page, statement) {
  await page.getByLabel('SQL').fill(statement);
  await page.getByRole('button', { name: 'Run', exact: true }).click();
}
const state = (page, name) => page.locator('.state', { hasText: name });

async function checkConnection(page) {
  await page.getByRole('link', { name: 'workbench' }).click();
  await page.getByLabel('Port').fill(String(target.port));
  await page.getByLabel('User').fill(target.username);
  await page.getByLabel('Password').fill('not the password');
  await page.getByRole('button', { name: 'Save and connect' }).click();
  await alert(page).first().waitFor();
  await shot(page, 'connection-error');
  await page.getByLabel('Password').fill(target.password);
  await page.getByRole('button', { name: 'Save and connect' }).click();
  await page.getByLabel('SQL').waitFor();
}

async function checkTree(page) {
  for (const name of ['shop', 'elephants']) await page.locator('summary', { hasText: name }).click();
  await page.locator('.tree li', { hasText: 'weight_kg' }).waitFor();
  assert.ok(!(await page.locator('.tree').innerText()).includes('pg_catalog'), 'system schemas are left out');
}

async function checkRun(page) {
  await run(page, "SELECT i AS id, 'row ' || i AS label, NULL AS nothing, i * 1.5 AS amount FROM generate_series(1, 5000) i");
  await state(page, 'SUCCEEDED').waitFor();
  await page.getByRole('cell', { name: 'row 1', exact: true }).waitFor();
  await page.locator('.grid').evaluate((grid) => grid.scrollTo(0, grid.scrollHeight));
  await page.getByRole('cell', { name: 'row 5000', exact: true }).waitFor();
  assert.ok((await page.locator('.grid [role=row]').count()) < 400, 'only rows in view exist');
  await page.locator('.grid').evaluate((grid) => grid.scrollTo(0, 60 * 26));
  await shot(page, 'workbench');

  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Export CSV' }).click(),
  ]);
  const lines = (await readFile(await download.path(), 'utf8')).trim().split(/\r?\n/);
  assert.equal(lines.length, 5001);
  assert.equal(lines[1], '1,row 1,,1.5');
}

async function checkFailures(page) {
  await run(page, "SELECT '🐘',\n  nope\nFROM generate_series(1, 3)");
  await state(page, 'FAILED').waitFor();
  await page.getByText('Line 2, column 3:').waitFor();
  assert.equal(await page.locator('.editor mark').innerText(), 'nope');
  await shot(page, 'workbench-error');

  // Rows are shown while the statement sends more.
  await run(page, "SELECT i, repeat('x', 500) AS x, pg_sleep(0.01) FROM generate_series(1, 100000) i");
  await page.getByRole('cell', { name: '40', exact: true }).waitFor({ state: 'attached' });
  await state(page, 'RUNNING').waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await state(page, 'CANCELLED').waitFor();
  await page.getByRole('button', { name: 'Export CSV' }).waitFor();

  await run(page, 'SELECT pg_sleep(60)');
  await state(page, 'RUNNING').waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await state(page, 'CANCELLED').waitFor();
}

async function checkStorage(page) {
  await page.getByRole('link', { name: 'storage' }).click();
  await page.getByLabel('Bucket name').fill('reports');
  await page.getByRole('button', { name: 'Create bucket' }).click();
  const buffer = Buffer.alloc(3_000_000, 'elephants ');
  const file = { name: 'May.txt', mimeType: 'text/plain', buffer };
  const network = await context.newCDPSession(page);
  const slow = (uploadThroughput) =>
    network.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput });
  await slow(500_000);
  await page.getByLabel('Upload files').setInputFiles(file);
  const item = page.locator('li', { hasText: 'May.txt' });
  await page.waitForFunction(() => document.querySelector('progress')?.value > 0);
  await item.getByRole('button', { name: 'Pause' }).click();
  await item.getByRole('button', { name: 'Resume' }).waitFor();
  await shot(page, 'storage');
  await slow(-1);
  const resumed = page.waitForResponse((response) => response.request().method() === 'HEAD');
  await item.getByRole('button', { name: 'Resume' }).click();
  assert.ok(Number((await resumed).headers()['upload-offset']) > 0, 'the upload goes on where it was');
  await item.getByRole('button', { name: 'Download' }).waitFor();
  await item.locator('progress').waitFor({ state: 'detached' });
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    item.getByRole('button', { name: 'Download' }).click(),
  ]);
  assert.equal(download.suggestedFilename(), 'May.txt');

  // Begun here, resumed after a reload with the file chosen again.
  await slow(500_000);
  await page.getByLabel('Upload files').setInputFiles({ ...file, name: 'June.txt' });
  await page.waitForFunction(() => document.querySelector('progress')?.value > 0);
  await page.reload();
  await slow(-1);
  await page.getByRole('button', { name: 'reports' }).click();
  const june = page.locator('li', { hasText: 'June.txt' });
  await june.getByLabel('Resume').setInputFiles({ ...file, buffer: buffer.subarray(1) });
  await june.getByRole('alert').waitFor(); // another file
  await june.getByLabel('Resume').setInputFiles(file);
  await june.getByRole('button', { name: 'Download' }).waitFor();
  assert.ok((await readFile(await download.path())).equals(buffer), 'the bytes are the same');
}

/** A token of the same session that expires in so many seconds. */
function withExpiry(token, seconds) {
  const [header, body] = token.split('.');
  const claims = JSON.parse(Buffer.from(body, 'base64url'));
  claims.exp = Math.floor(Date.now() / 1000) + seconds;
  const unsigned = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
  return `${unsigned}.${createHmac('sha256', Buffer.from(key, 'hex')).update(unsigned).digest('base64url')}`;
}

/** Replaces the access token that the tabs share, as if it were good for an hour. */
async function holdToken(page, change) {
  const signedIn = await page.evaluate(() => JSON.parse(localStorage.getItem('howdah:session')));
  signedIn.session.accessToken = change(signedIn.session.accessToken);
  signedIn.renewAt = Date.now() + 3_600_000;
  await page.evaluate((text) => localStorage.setItem('howdah:session', text), JSON.stringify(signedIn));
}

/** The socket is closed when its token expires, connects again with a new one, and changes still arrive. */
async function checkExpiry(_page, other) {
  const held = () => other.evaluate(() => JSON.parse(localStorage.getItem('howdah:session')).session.accessToken);
  for (const seconds of [3, 15, 50]) {
    await holdToken(other, (token) => withExpiry(token, seconds));
    const expiring = await held();
    await other.reload();
    await tasks(other).first().waitFor();
    if ((await held()) !== expiring) continue; // a slow page: it expired before the socket opened
    await other.waitForFunction(() => window.socketCloses.includes(4403));
    break;
  }
  const title = 'Made after the expiry';
  await ask('mutation($title: String!) { createTask(input: {title: $title}) { task { id } } }', { title });
  await task(other, title).waitFor();
}

/** A change that was made while the socket was away is shown once it is back. */
async function checkReconnect(_page, other) {
  await other.evaluate(() => window.sockets.at(-1).close(4000));
  await ask('mutation { createTask(input: {title: "Made while away"}) { task { id } } }');
  await task(other, 'Made while away').waitFor();
}

/** A change that was made while another page was open. */
async function checkReturn(page) {
  await ask('mutation { createTask(input: {title: "Made during a visit"}) { task { id } } }');
  await page.getByRole('link', { name: 'tasks' }).click();
  await task(page, 'Made during a visit').waitFor();
}

async function checkSignOut(page, other) {
  await page.getByRole('button', { name: 'Sign out' }).click();
  for (const tab of [page, other]) await tab.getByRole('button', { name: 'Sign in' }).waitFor();
  assert.equal(await other.evaluate(() => localStorage.getItem('howdah:session')), null);
}

const page = await open();
let failed = true;
try {
  await checkSignUp(page);
  const other = await open();
  await other.getByRole('heading', { name: 'Tasks' }).waitFor();
  await page.bringToFront();
  const step = async (check) => {
    const began = Date.now();
    await check(page, other);
    console.log(`${check.name}: ${Date.now() - began} ms`);
  };
  for (const check of [checkTasks, checkToggle, checkReconnect, checkRefresh, checkExpiry]) await step(check);
  for (const check of [checkConnection, checkTree, checkRun, checkFailures, checkStorage]) await step(check);
  for (const check of [checkReturn, checkSignOut]) await step(check);
  assert.deepEqual(complaints, [], 'the page is quiet');
  failed = false;
} finally {
  if (failed) {
    for (const [index, tab] of context.pages().entries()) {
      await shot(tab, `failed-${index}`);
      console.log(await tab.evaluate(() => document.body.innerText.slice(0, 2000)), requests.slice(-15), complaints);
    }
  }
  await browser.close();
}
