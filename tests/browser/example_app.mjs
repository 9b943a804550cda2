// Drives an example app of docs/examples in a real browser. The apps of Apollo and Relay have the same labels.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const { values: options } = parseArgs({
  options: {
    page: { type: 'string' }, // address of the built app
    howdah: { type: 'string' }, // address of the server's GraphQL
    key: { type: 'string' }, // that signs access tokens, in hex
    port: { type: 'string' }, // of the target database
    password: { type: 'string' },
    chromium: { type: 'string', default: '/usr/bin/chromium' },
    screenshots: { type: 'string', default: '.' },
  },
});
const email = 'ada@example.com';
const password = 'correct horse battery';

const item = (page, text) => page.getByRole('listitem').filter({ hasText: text });

/** Sends an operation without the app, as another device of the same user does. */
async function ask(query, variables = {}, token) {
  const response = await fetch(options.howdah, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  assert.equal(errors, undefined);
  return data;
}

async function signUp() {
  const { signUp } = await ask(
    'mutation($input: SignUpInput!) { signUp(input: $input) { session { accessToken } } }',
    { input: { email, password, name: 'Ada' } },
  );
  return signUp.session.accessToken;
}

/** Fills the task list, so that it has two pages of 20. */
async function addTasks(token) {
  const titles = Array.from({ length: 25 }, (_, index) => `Task ${index + 1}`);
  const json = JSON.stringify(titles.map((title) => ({ title })));
  await ask('mutation($json: String!) { importTasks(input: {json: $json}) { created } }', { json }, token);
}

async function open(context, seen) {
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) seen.complaints.push(message.text());
  });
  page.on('pageerror', (error) => seen.complaints.push(String(error)));
  page.on('request', (request) => {
    const { query = '' } = request.method() === 'POST' ? (request.postDataJSON() ?? {}) : {};
    if (query.includes('refreshSession(')) seen.refreshes += 1;
  });
  await page.goto(options.page);
  return page;
}

async function signIn(page, seen) {
  await page.getByLabel('E-mail').fill(email);
  await page.getByLabel('Password').fill('not the password');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('alert').waitFor(); // message and hint
  await shoot(page, 'sign-in');
  assert.equal(seen.refreshes, 0, 'a wrong password is no reason to refresh');
  seen.complaints.length = 0; // the browser reports the HTTP status of a refused request
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await item(page, 'Task 25').waitFor();
}

/** Holds back the next request of the page until the returned function is called. */
async function holdBack(page) {
  let release;
  const released = new Promise((resolve) => (release = resolve));
  const handler = async (route) => {
    await released;
    await route.continue();
  };
  await page.route(options.howdah, handler, { times: 1 });
  return release;
}

async function tasks(page, other, token) {
  // Pages
  assert.equal(await page.getByRole('listitem').count(), 20);
  const more = page.getByRole('button', { name: 'More' });
  await more.click();
  // The app fetches the first page again when its socket opens, which may be now: then there are more again.
  const listed = () => page.getByRole('listitem').count();
  const end = Date.now() + 60_000;
  while ((await listed()) < 25 && Date.now() < end) await more.click({ timeout: 500 }).catch(() => {});
  assert.equal(await listed(), 25);

  // A task of this tab arrives in the other tab, once in each.
  await page.getByLabel('New task').fill('Feed the elephant');
  await page.getByRole('button', { name: 'Add' }).click();
  for (const tab of [page, other]) await item(tab, 'Feed the elephant').waitFor();
  assert.equal(await item(page, 'Feed the elephant').count(), 1);
  for (const tab of [page, other]) await tab.getByRole('heading', { name: 'Tasks 26' }).waitFor();

  // The toggle shows before the server responds, and arrives in the other tab.
  let respond = await holdBack(page);
  const box = (tab) => tab.getByLabel('Feed the elephant', { exact: true });
  await box(page).click();
  assert.ok(await box(page).isChecked(), 'toggled while the response is held back');
  assert.ok(!(await box(other).isChecked()));
  respond();
  await other.locator('li', { hasText: 'Feed the elephant' }).locator(':checked').waitFor();

  // A toggle of a task that another device has toggled meanwhile is refused, and is undone.
  const { tasks } = await ask('{ tasks(first: 1, filter: {search: "elephant"}) { nodes { id } } }', {}, token);
  const { id } = tasks.nodes[0];
  respond = await holdBack(page);
  await box(page).click();
  await ask('mutation($id: ID!) { toggleTask(input: {id: $id}) { task { id } } }', { id }, token);
  respond();
  await item(page, 'Feed the elephant').getByRole('alert').filter({ hasText: 'version' }).waitFor();
  await item(page, 'Feed the elephant').locator(':not(:checked)[type=checkbox]').waitFor();

  // A task that another device deletes disappears.
  await ask('mutation($id: ID!) { deleteTask(input: {id: $id}) { deletedTaskId } }', { id }, token);
  for (const tab of [page, other]) await item(tab, 'Feed the elephant').waitFor({ state: 'detached' });
  await shoot(page, 'tasks');
}

/** Two tabs with an access token that is refused: both refresh the shared session, and the user notices nothing. */
async function refresh(page, other, token, seen) {
  for (const round of [1, 2]) {
    await page.evaluate(() => {
      const session = JSON.parse(localStorage.getItem('howdah.session'));
      localStorage.setItem('howdah.session', JSON.stringify({ ...session, accessToken: 'expired' }));
    });
    await Promise.all([page.reload(), other.reload()]);
    for (const tab of [page, other]) await item(tab, 'Task 25').waitFor();
    // One refresh for both tabs, or two if one tab did not see yet what the other had stored.
    assert.ok(seen.refreshes >= round && seen.refreshes <= 2 * round, `${seen.refreshes} refreshes`);
  }
  await changeArrives('Wash the elephant', [page, other], token); // the sockets connect again with the new token
  seen.complaints.length = 0; // the refused requests
}

/** A change by another device is shown in these tabs. */
async function changeArrives(title, tabs, token) {
  const create = 'mutation($title: String!) { createTask(input: {title: $title}) { task { id } } }';
  const { id } = (await ask(create, { title }, token)).createTask.task;
  for (const tab of tabs) await item(tab, title).waitFor();
  await ask('mutation($id: ID!) { deleteTask(input: {id: $id}) { deletedTaskId } }', { id }, token);
  for (const tab of tabs) await item(tab, title).waitFor({ state: 'detached' });
}

/** The token expires while the tab follows changes: the server closes the socket, and the app subscribes again. */
async function expire(page, token, seen) {
  const stored = () => page.evaluate(() => JSON.parse(localStorage.getItem('howdah.session')));
  for (const seconds of [3, 15, 50]) {
    const closed = new Promise((resolve) => page.on('websocket', (socket) => socket.on('close', resolve)));
    const session = await stored();
    const [header, body] = session.accessToken.split('.');
    const claims = JSON.parse(Buffer.from(body, 'base64url'));
    claims.exp = Math.floor(Date.now() / 1000) + seconds;
    const unsigned = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
    const signature = createHmac('sha256', Buffer.from(options.key, 'hex')).update(unsigned).digest('base64url');
    session.accessToken = `${unsigned}.${signature}`; // `renewAt` stays: the app learns of the expiry when the socket closes
    await page.evaluate((text) => localStorage.setItem('howdah.session', text), JSON.stringify(session));
    await page.reload();
    await item(page, 'Task 25').waitFor();
    if ((await stored()).accessToken !== session.accessToken) continue; // a slow page: it expired before the socket opened
    await closed;
    break;
  }
  await changeArrives('Brush the tusks', [page], token);
  seen.complaints.length = 0;
}

async function workbench(page) {
  await page.getByRole('link', { name: 'workbench' }).click();
  await page.getByText('New connection').click();
  const values = {
    Name: 'Zoo', Host: 'localhost', Port: options.port, Database: 'postgres', User: 'ada', Password: options.password,
  };
  for (const [label, value] of Object.entries(values)) await page.getByLabel(label, { exact: true }).fill(value);
  await page.getByRole('button', { name: 'Save and connect' }).click();

  // The tree
  await page.getByRole('button', { name: 'zoo', exact: true }).click();
  await item(page, /^elephants/).waitFor();
  await page.getByRole('button', { name: 'More tables' }).click();
  await item(page, /^herd_9/).waitFor();

  // Rows in pages
  const status = page.getByRole('status');
  const run = async (statement) => {
    await page.getByLabel('Statement').fill(statement);
    await page.getByRole('button', { name: 'Run', exact: true }).click();
  };
  await run('SELECT i, i * 2 AS twice FROM generate_series(1, 120) AS i');
  await status.filter({ hasText: 'SUCCEEDED, 120 rows' }).waitFor();
  await page.getByText('1 to 50 of 120').waitFor();
  await page.getByRole('button', { name: 'Next' }).click();
  await page.getByRole('cell', { name: '100', exact: true }).first().waitFor();
  await page.getByText('51 to 100 of 120').waitFor();
  await shoot(page, 'workbench');
  const [csv] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('link', { name: 'Download CSV' }).click(),
  ]);
  assert.match(csv.suggestedFilename(), /\.csv$/);

  // An error, marked at its line and column
  await run("SELECT '🐘',\n  nothing FROM zoo.elephants");
  const alert = page.getByRole('alert').filter({ hasText: 'Line 2, column 3' });
  await alert.waitFor();
  const selected = await page.getByLabel('Statement').evaluate((area) => area.value.slice(area.selectionStart));
  assert.match(selected, /^nothing/);
  await shoot(page, 'workbench-error');

  // Cancel
  await run('SELECT pg_sleep(60)');
  await status.filter({ hasText: 'RUNNING' }).waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await status.filter({ hasText: 'CANCELLED' }).waitFor();
}

async function storage(page) {
  await page.getByRole('link', { name: 'storage' }).click();
  await page.getByLabel('New bucket').fill('reports');
  await page.getByRole('button', { name: 'Create' }).click();
  const buffer = Buffer.alloc(3_000_000, 'hay ');
  const upload = (name) =>
    page.getByLabel('Upload a file').setInputFiles({ name, mimeType: 'text/plain', buffer });

  // An upload that the user aborts: the file is reserved, until it is deleted.
  await page.route(/\/files\//, () => {}, { times: 1 }); // never continues
  await upload('april.txt');
  await page.getByRole('progressbar', { name: 'Upload' }).waitFor();
  await page.getByRole('button', { name: 'Abort' }).click();
  await page.getByRole('alert').filter({ hasText: 'aborted' }).waitFor();
  await item(page, 'april.txt').filter({ hasText: 'PENDING' }).waitFor();
  await page.getByRole('button', { name: 'Delete april.txt' }).click();
  await item(page, 'april.txt').waitFor({ state: 'detached' });

  await upload('may.txt');
  await item(page, 'may.txt').filter({ hasText: '3,000,000 bytes, STORED' }).waitFor();
  await shoot(page, 'storage');
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'may.txt', exact: true }).click(),
  ]);
  assert.equal(download.suggestedFilename(), 'may.txt');
  await page.getByRole('button', { name: 'Delete may.txt' }).click();
  await item(page, 'may.txt').waitFor({ state: 'detached' });
}

let app;
const shoot = (page, name) => page.screenshot({ path: `${options.screenshots}/${app}-${name}.png`, fullPage: true });

/** Drives the core flows. `prepare` adds to the context, `check` to the checks of both tabs that show the tasks. */
export async function drive(name, { prepare = () => {}, check = () => {} } = {}) {
  app = name;
  const token = await signUp();
  await addTasks(token);
  const browser = await chromium.launch({
    executablePath: options.chromium,
    args: [
      ...['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-sync'],
      // Two tabs work at once.
      ...['--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows'],
    ],
  });
  const context = await browser.newContext({ viewport: { width: 1100, height: 720 } });
  await prepare(context);
  const seen = { complaints: [], refreshes: 0 };
  const page = await open(context, seen);
  try {
    await signIn(page, seen);
    const other = await open(context, seen); // signed in by the shared session
    await item(other, 'Task 25').waitFor();
    await page.bringToFront();
    await tasks(page, other, token);
    for (const tab of [page, other]) await check(tab);
    await refresh(page, other, token, seen);
    await page.bringToFront(); // a tab in the background draws once a second, and each click waits for that
    await expire(page, token, seen);
    await workbench(page);
    await storage(page);
    assert.deepEqual(seen.complaints, [], 'the console is quiet');

    // Signing out in one tab signs out the other.
    await page.getByRole('button', { name: 'Sign out' }).click();
    for (const tab of [page, other]) await tab.getByLabel('E-mail').waitFor();
    console.log('ok');
  } catch (error) {
    await shoot(page, 'failure');
    console.error('console of the page:', seen.complaints);
    throw error;
  } finally {
    await browser.close();
  }
}
