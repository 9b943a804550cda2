// Works with GraphiQL in a real browser. How to run it: README.md in this folder.

import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: {
    subscription: { type: 'string' },
    trigger: { type: 'string' },
    screenshot: { type: 'string' },
    chromium: { type: 'string', default: '/usr/bin/chromium' },
  },
});
const [link] = positionals;
if (!link?.includes('#sign-in=')) {
  console.error('usage: node graphiql.mjs LINK [--subscription ... --trigger ... --screenshot ...]');
  process.exit(2);
}
const url = link.split('#')[0];
let authorization; // of the tab, once the link has signed it in
const waitMs = 15_000;

/** Everything the page asked for or complained about. */
function observe(page) {
  const seen = { urls: [], posts: [], complaints: [], frames: [] };
  page.on('request', (request) => {
    seen.urls.push(request.url());
    if (request.method() === 'POST') seen.posts.push(request);
  });
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

async function write(page, editor, text) {
  await page.locator(`${editor} .monaco-editor:visible`).click();
  await page.keyboard.press('ControlOrMeta+A');
  await page.keyboard.press('Delete'); // a brace written over a selection would be put around it
  await page.keyboard.insertText(text);
}

/** Presses the run button and chooses one of the document's operations. */
async function runOneOf(page, operation) {
  await page.locator('.graphiql-execute-button[aria-haspopup]').click();
  await page.getByRole('menuitem', { name: operation }).click();
}

/** Presses the run button, once GraphiQL has read that the document has one operation only. */
async function runOnly(page) {
  await page.locator('.graphiql-execute-button:not([aria-haspopup])').click();
}

async function shows(page, text) {
  const result = page.locator('.result-window .view-lines');
  await result.filter({ hasText: text }).waitFor();
}

async function eventually(what, condition) {
  const deadline = Date.now() + waitMs;
  while (!condition()) {
    assert.ok(Date.now() < deadline, `${what}: not within ${waitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function trigger() {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization },
    body: JSON.stringify({ query: options.trigger }),
  });
  const { errors } = await answer.json();
  assert.equal(errors, undefined, 'the trigger is accepted');
}

async function checkSignIn(page, seen) {
  assert.equal(page.url(), url, 'the code is taken out of the address');
  const kept = await page.evaluate(() => JSON.parse(sessionStorage.getItem('howdah:sign-in')));
  authorization = `Bearer ${kept.accessToken}`;
  await page.locator('[aria-label=Headers] .view-line', { hasText: 'Authorization' }).waitFor();
  const elsewhere = await page.evaluate(() => JSON.stringify(localStorage) + document.cookie);
  assert.ok(!elsewhere.includes(kept.accessToken), 'the token is kept in the tab only');
  const code = link.split('#sign-in=')[1];
  assert.ok(!seen.urls.some((one) => one.includes(code)), 'the code is in no address that is asked for');
}

async function checkQueries(page, seen) {
  await runOneOf(page, 'Health');
  await shows(page, /"health"/);
  await runOneOf(page, 'Me');
  await shows(page, /"viewer":\s*\{/);
  const sent = await seen.posts.at(-1).headerValue('authorization');
  assert.equal(sent, authorization, 'the Headers tab is sent over HTTP');
}

/** A reload keeps the tab signed in; a second tab shows that the link was used. */
async function checkOnce(page) {
  await page.reload();
  await page.locator('[aria-label=Headers] .view-line', { hasText: 'Authorization' }).waitFor();
  const other = await browser.newPage();
  await other.goto(link);
  await other.locator('[role=alert]', { hasText: 'howdah user sign-in-link' }).waitFor();
  assert.equal(await other.evaluate(() => sessionStorage.getItem('howdah:sign-in')), null);
  if (options.screenshot) await other.screenshot({ path: `${options.screenshot}.used.png` });
  await other.close();
}

async function checkSubscription(page, seen) {
  await write(page, '.graphiql-query-editor', options.subscription);
  await runOnly(page);
  await eventually('subscribe is sent', () => seen.frames.some(({ type }) => type === 'subscribe'));
  const init = seen.frames.find(({ type }) => type === 'connection_init');
  assert.equal(init.payload.Authorization, authorization, 'the Headers tab is sent over WebSocket');

  // The protocol does not say when a subscription stands: its cause is repeated until it shows.
  const arrived = () => seen.frames.some(({ type }) => type === 'next');
  const cause = options.trigger && setInterval(trigger, 1_000);
  await eventually('an event arrives', arrived).finally(() => clearInterval(cause));
  const event = seen.frames.find(({ type }) => type === 'next');
  await shows(page, `"${Object.keys(event.payload.data)[0]}"`);
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
const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
try {
  page.setDefaultTimeout(waitMs);
  const seen = observe(page);
  await page.goto(link);
  await page.locator('.graphiql-query-editor .view-line').first().waitFor();

  await checkSignIn(page, seen);
  await checkQueries(page, seen);
  if (options.subscription) await checkSubscription(page, seen);

  await checkOnce(page);

  const host = new URL(url).host;
  const foreign = seen.urls.filter((one) => !/^(data|blob):/.test(one) && new URL(one).host !== host);
  assert.deepEqual(foreign, [], 'nothing is asked of another host');
  assert.deepEqual(seen.complaints, [], 'the console is quiet');
  assert.ok(page.workers().length > 0, "Monaco's workers run");
  console.log(`ok: ${seen.urls.length} requests, all to ${host}; ${page.workers().length} workers`);
} finally {
  if (options.screenshot) await page.screenshot({ path: options.screenshot });
  await browser.close();
}
