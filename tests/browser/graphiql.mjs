// Works with GraphiQL in a real browser. How to run it: README.md in this folder.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

import { checkLink, checkOwnToken, checkSignOut } from './graphiql_account.mjs';

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: {
    chromium: { type: 'string', default: '/usr/bin/chromium' },
    screenshots: { type: 'string' },
    key: { type: 'string' },
  },
});
const [link] = positionals;
if (!link?.includes('#sign-in=')) {
  console.error('usage: node graphiql.mjs LINK [--screenshots FOLDER --key HEX]');
  process.exit(2);
}
const [url, code] = link.split('#sign-in=');
const waitMs = 60_000;

/** Everything the page asked for or complained about. */
function observe(page) {
  const seen = { urls: [], frames: [], complaints: [] };
  page.on('request', (request) => seen.urls.push(request.url()));
  page.on('websocket', (socket) => {
    seen.urls.push(socket.url());
    for (const event of ['framesent', 'framereceived']) {
      socket.on(event, ({ payload }) => seen.frames.push(JSON.parse(payload)));
    }
  });
  page.on('console', (message) => {
    // Without its workers Monaco only warns, and freezes the page instead.
    if (!['error', 'warning'].includes(message.type())) return;
    seen.complaints.push(`${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => seen.complaints.push(String(error)));
  return seen;
}

async function screenshot(page, name) {
  if (options.screenshots) await page.screenshot({ path: `${options.screenshots}/graphiql-${name}.png` });
}

async function openTab(page, title) {
  await page.locator('.graphiql-tab-button', { hasText: title }).click();
  await page.locator('.graphiql-query-editor .view-line', { hasText: `query ${title}` }).waitFor();
}

async function openNewTab(page, text) {
  await page.getByRole('button', { name: 'New tab' }).click();
  await write(page, '.graphiql-query-editor', text);
}

async function write(page, editor, text) {
  await page.locator(`${editor} .monaco-editor:visible`).click();
  await page.keyboard.press('ControlOrMeta+A');
  await page.keyboard.press('Delete'); // a brace written over a selection would be put around it
  await page.keyboard.insertText(text);
}

/** Presses the run button and chooses one of the document's operations. */
async function runOneOf(page, operation) {
  await page.locator('.graphiql-execute-button[aria-haspopup]').click();
  await page.getByRole('menuitem', { name: operation, exact: true }).click();
}

/** Presses the run button, once GraphiQL has read that the document has one operation only. */
async function runOnly(page) {
  await page.locator('.graphiql-execute-button:not([aria-haspopup])').click();
}

async function stop(page) {
  await page.locator('.graphiql-execute-button[title^=Stop], .graphiql-execute-button[aria-label^=Stop]').click();
}

async function shows(page, text) {
  await page.locator('.result-window .view-lines').filter({ hasText: text }).waitFor();
}

async function variableIs(page, pattern) {
  await page.locator('[aria-label=Variables] .view-lines').filter({ hasText: pattern }).waitFor();
}

async function eventually(what, condition) {
  const deadline = Date.now() + waitMs;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `${what}: not within ${waitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const stored = (page) => page.evaluate(() => JSON.parse(sessionStorage.getItem('howdah:sign-in')));

/** A token of the same session that expires in so many seconds, signed with the server's key. */
function withExpiry(token, seconds) {
  const [header, body] = token.split('.');
  const claims = JSON.parse(Buffer.from(body, 'base64url'));
  claims.exp = Math.floor(Date.now() / 1000) + seconds;
  const unsigned = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
  const signature = createHmac('sha256', Buffer.from(options.key, 'hex')).update(unsigned).digest('base64url');
  return `${unsigned}.${signature}`;
}

/** Replaces the token of the tab, as if it had been obtained a moment ago. */
async function holdToken(page, accessToken) {
  const session = JSON.stringify({ accessToken, renewAt: Date.now() + 3_600_000 });
  await page.evaluate((text) => sessionStorage.setItem('howdah:sign-in', text), session);
}

async function checkSignIn(page, seen) {
  assert.equal(page.url(), url, 'the code is taken out of the address');
  const { accessToken } = await stored(page);
  const elsewhere = await page.evaluate(() => JSON.stringify(localStorage) + document.cookie);
  assert.ok(!elsewhere.includes(accessToken), 'the token is kept in the tab only');
  assert.ok(!(await page.content()).includes(accessToken), 'the page does not show the token');
  assert.ok(!seen.urls.some((one) => one.includes(code)), 'the code is in no address that is asked for');
}

async function checkTasks(page, seen) {
  await runOneOf(page, 'Tasks');
  await shows(page, /"totalCount"/);
  await runOneOf(page, 'CreateTask');
  await variableIs(page, /"taskId":\s*"task_/);
  await runOneOf(page, 'ToggleTask');
  await shows(page, /"completed":\s*true/);

  await runOneOf(page, 'LiveTasks');
  await eventually('subscribe is sent', () => seen.frames.some(({ type }) => type === 'subscribe'));
  const init = seen.frames.find(({ type }) => type === 'connection_init');
  assert.equal(init.payload.Authorization, `Bearer ${(await stored(page)).accessToken}`);
  // A copy of the browser tab, as the example says, has a copy of its sessionStorage.
  const [copy] = await Promise.all([
    page.waitForEvent('popup'),
    page.evaluate(() => void window.open(location.href)),
  ]);
  // The protocol does not say when a subscription stands: its cause is repeated until it shows.
  await eventually('an event arrives', async () => {
    await runOneOf(copy, 'CreateTask');
    await shows(copy, /"createTask"/);
    return seen.frames.some(({ type }) => type === 'next');
  });
  await copy.close();
  await shows(page, /"kind":\s*"CREATED"/);
  await screenshot(page, 'live');
  await stop(page);
}

/** On the demo, whose data the variables name; a test in Python runs every operation. */
async function checkWorkbench(page, seen) {
  await openTab(page, 'Workbench');
  await runOneOf(page, 'Workbench');
  await variableIs(page, /"connectionId":\s*"conn_/);
  await runOneOf(page, 'Schemas');
  await shows(page, /"reporting"/);
  await variableIs(page, /"schemaName":\s*"shop"/); // not the first: the answer still has it
  await runOneOf(page, 'Columns');
  await shows(page, /"isPrimaryKey"/);
  await runOneOf(page, 'RunStatement');
  await shows(page, /"state":\s*"SUCCEEDED"/);
  await shows(page, /"delivered"/);
  await page.locator('.graphiql-query-editor .view-line', { hasText: 'mutation RunStatement' }).waitFor();
  await screenshot(page, 'workbench');
  await runOneOf(page, 'StartSlowRun');
  await shows(page, /"runId"/);
  await runOneOf(page, 'WatchRun');
  await shows(page, /"state":\s*"RUNNING"/);
  await stop(page);
  await eventually('the subscription is completed', () => seen.frames.some(({ type }) => type === 'complete'));
  await runOneOf(page, 'CancelRun');
  await shows(page, /"outcome":\s*"CANCELLED"/);
  await runOneOf(page, 'WatchRun');
  await shows(page, /"state":\s*"CANCELLED"/);
}

async function checkOtherTabs(page) {
  await openTab(page, 'Storage');
  await runOneOf(page, 'Storage');
  await variableIs(page, /"fileId":\s*"file_/);
  await runOneOf(page, 'File');
  await shows(page, /"downloadUrl"/);
  await screenshot(page, 'storage');
  await openTab(page, 'Account');
  await runOneOf(page, 'Account');
  await shows(page, /"viewer":\s*\{/);
}

async function checkPlugins(page) {
  await openNewTab(page, '{ viewer { email } }');
  await page.getByRole('button', { name: 'Show GraphiQL Explorer' }).click();
  await page.locator('.graphiql-explorer-root', { hasText: 'taskStats' }).waitFor();
  await page.locator('[data-field-name=taskStats]').click();
  await page.locator('[data-field-name=open]').click();
  await page.locator('.graphiql-query-editor .view-lines').filter({ hasText: /taskStats\s*\{\s*open/ }).waitFor();
  await runOnly(page);
  await shows(page, /"taskStats"/);
  await screenshot(page, 'explorer');
  await page.getByRole('button', { name: 'Show History' }).click();
  await page.locator('.graphiql-history-item', { hasText: 'Account' }).first().waitFor();
  await page.getByRole('button', { name: 'Show Documentation Explorer' }).click();
  await page.locator('.graphiql-doc-explorer', { hasText: 'Mutation' }).waitFor();
  await page.locator('.graphiql-doc-explorer', { hasText: 'Howdah is a server for people' }).waitFor();
  await screenshot(page, 'documentation');
  await page.getByRole('button', { name: 'Hide Documentation Explorer' }).click();
}

async function checkErrors(page) {
  await openNewTab(page, '{ tasks { totalCount } }');
  await runOnly(page);
  const errors = page.locator('.howdah-errors');
  await errors.filter({ hasText: 'BAD_USER_INPUT' }).waitFor();
  const { hint } = JSON.parse(await responseOf(page)).errors[0].extensions;
  await errors.filter({ hasText: hint }).waitFor();
  const banner = await errors.boundingBox();
  const response = await page.locator('.result-window').boundingBox();
  assert.ok(banner.y >= 0 && banner.y + banner.height <= response.y + 1, 'errors are above the response');
  await screenshot(page, 'errors');
  await openTab(page, 'Account');
  await errors.waitFor({ state: 'detached' });
}

/** The text of the response; its editor renders only the lines in sight. */
async function responseOf(page) {
  await page.locator('.result-window .monaco-editor').click();
  await page.keyboard.press('ControlOrMeta+A');
  await page.keyboard.press('ControlOrMeta+C');
  return page.evaluate(() => navigator.clipboard.readText());
}

/** A token that the server refuses is renewed, and the operation is sent again. */
async function checkRenewal(page, seen) {
  await openTab(page, 'Account');
  const expired = withExpiry((await stored(page)).accessToken, -60);
  await holdToken(page, expired);
  await runOneOf(page, 'Account');
  await eventually('the token is renewed', async () => (await stored(page)).accessToken !== expired);
  await shows(page, /"viewer":\s*\{/);
  assert.ok(seen.urls.includes(`${url}/sign-in/renew`));
  assert.equal(await page.locator('.howdah-notice').count(), 0, 'the user is not troubled');

  // Due by the clock, before the server refuses it.
  const { accessToken } = await stored(page);
  await page.evaluate((text) => sessionStorage.setItem('howdah:sign-in', text), JSON.stringify({ accessToken, renewAt: 1 }));
  await runOneOf(page, 'Account');
  await eventually('the token is renewed in time', async () => (await stored(page)).renewAt > 1);
}

/** The subscription goes on with a new token, and the user is not troubled. */
async function checkExpiringSubscription(page, seen) {
  await openNewTab(page, 'subscription { taskChanged { kind } }');
  const brief = withExpiry((await stored(page)).accessToken, 3);
  await holdToken(page, brief);
  seen.frames.length = 0;
  await runOnly(page);
  const sent = (name) => seen.frames.filter(({ type }) => type === name);
  await eventually('the page subscribes again', () => sent('subscribe').length === 2);
  const renewed = (await stored(page)).accessToken;
  assert.notEqual(renewed, brief);
  assert.equal(sent('connection_init')[1].payload.Authorization, `Bearer ${renewed}`);
  await eventually('an event arrives', async () => {
    await createTask(renewed);
    return sent('next').length > 0;
  });
  await shows(page, /"kind":\s*"CREATED"/);
  assert.equal(await page.locator('.howdah-notice').count(), 0);
  await stop(page);
}

async function createTask(token) {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
    body: JSON.stringify({ query: 'mutation { createTask(input: {title: "Brush the tusks"}) { task { id } } }' }),
  });
  assert.deepEqual((await answer.json()).errors, undefined);
}

/** The renewal is refused too: the subscription ends, with the reason of the server. */
async function checkExpiredSession(page) {
  const { accessToken } = await stored(page);
  const errors = [{ message: 'The session has ended.', extensions: { hint: 'Make another link.' } }];
  await page.route('**/sign-in/renew', (route) => route.fulfill({ status: 401, json: { errors } }));
  await openNewTab(page, 'subscription { taskChanged { kind } }');
  await holdToken(page, withExpiry(accessToken, 3));
  await runOnly(page);
  const ended = 'The subscription has ended: The access token has expired.';
  await page.locator('.howdah-notice', { hasText: ended }).filter({ hasText: 'Make another link.' }).waitFor();
  await page.locator('.howdah-errors', { hasText: 'WebSocket close code 4403' }).waitFor();
  await page.unroute('**/sign-in/renew');
  await holdToken(page, accessToken);
  await page.locator('.howdah-notice').getByRole('button', { name: 'Dismiss' }).click();
}

/** A token that the page cannot renew: the subscription ends, with the reason of the server. */
async function checkExpiringHeader(page) {
  await openNewTab(page, 'subscription { taskChanged { kind } }');
  const brief = withExpiry((await stored(page)).accessToken, 3);
  await page.getByRole('button', { name: 'Headers', exact: true }).click();
  await write(page, '[aria-label=Headers]', JSON.stringify({ Authorization: `Bearer ${brief}` }));
  await runOnly(page);
  const ended = 'The subscription has ended: The access token has expired.';
  await page.locator('.howdah-notice', { hasText: ended }).filter({ hasText: 'Headers tab' }).waitFor();
  await page.locator('.howdah-errors', { hasText: 'WebSocket close code 4403' }).waitFor();
  await screenshot(page, 'expired');
  await page.locator('.howdah-notice').getByRole('button', { name: 'Dismiss' }).click();
}

/** A token in the Headers tab is used, reported when it is refused, and kept nowhere. */
async function checkHeaders(page) {
  await openNewTab(page, '{ viewer { name } }');
  await page.getByRole('button', { name: 'Headers', exact: true }).click();
  await write(page, '[aria-label=Headers]', '{"Authorization": "Bearer not-a-token"}');
  await runOnly(page);
  await page.locator('.howdah-notice', { hasText: 'Headers tab' }).waitFor();
  const history = () => page.evaluate(() => localStorage.getItem('graphiql:queries'));
  await eventually('the history is kept', async () => (await history()).includes('viewer { name }'));
  assert.ok(!JSON.stringify(await page.evaluate(() => ({ ...localStorage }))).includes('not-a-token'));
}

async function checkLostSession(page) {
  await openTab(page, 'Account');
  await holdToken(page, 'eyJhbGciOiJIUzI1NiJ9.e30.broken');
  await runOneOf(page, 'Account');
  await page.locator('.howdah-notice', { hasText: 'user sign-in-link --data-dir' }).waitFor();
  await screenshot(page, 'lost');
}

/** A reload keeps the tab signed in; a second tab shows that the link was used. */
async function checkOnce(page) {
  await page.reload();
  assert.ok((await stored(page)).accessToken);
  const other = await context.newPage();
  await other.goto(link);
  await other.locator('[role=alert]', { hasText: 'user sign-in-link --data-dir' }).waitFor();
  assert.equal(await stored(other), null);
  await screenshot(other, 'used-link');
  await other.close();
}

async function checkAppearance(page) {
  await openTab(page, 'Tasks');
  await page.emulateMedia({ colorScheme: 'dark' });
  await screenshot(page, 'dark');
  await page.setViewportSize({ width: 720, height: 900 });
  await screenshot(page, 'narrow');
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 720, 'nothing is wider than the window');
}

const browser = await chromium.launch({
  executablePath: options.chromium,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
const context = await browser.newContext({
  viewport: { width: 1280, height: 800 },
  permissions: ['clipboard-read', 'clipboard-write'],
});
context.setDefaultTimeout(waitMs);
const page = await context.newPage();
const seen = observe(page);
try {
  await page.goto(link);
  await page.locator('.graphiql-query-editor .view-line').first().waitFor();
  await checkSignIn(page, seen);
  await checkTasks(page, seen);
  await checkWorkbench(page, seen);
  await checkOtherTabs(page);
  await checkPlugins(page);
  await checkErrors(page);
  await checkOnce(page);
  await checkLink(page, seen, url);
  await checkAppearance(page);
  assert.deepEqual(seen.complaints, [], 'the console is quiet');
  if (options.key) {
    await checkRenewal(page, seen);
    await checkExpiringSubscription(page, seen);
    await checkExpiredSession(page);
    await checkExpiringHeader(page);
  }
  await checkHeaders(page);
  await checkOwnToken(page);
  await openTab(page, 'Account');
  await checkSignOut(page);
  await checkLostSession(page);

  const host = new URL(url).host;
  const foreign = seen.urls.filter((one) => !/^(data|blob):/.test(one) && new URL(one).host !== host);
  assert.deepEqual(foreign, [], 'nothing is asked of another host');
  // Chromium reports each answer with the status 401.
  const complaints = seen.complaints.filter((one) => !one.includes('status of 401'));
  assert.deepEqual(complaints, [], 'the console is quiet');
  assert.ok(page.workers().length > 0, "Monaco's workers run");
  console.log(`ok: ${seen.urls.length} requests, all to ${host}; ${page.workers().length} workers`);
} catch (error) {
  await screenshot(page, 'failed');
  console.error(seen.complaints.join('\n'));
  throw error;
} finally {
  await browser.close();
}
