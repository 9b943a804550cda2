// A reset link and the refresh cookie in a real browser: node sessions.mjs LINK FOREIGN EMAIL
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: { chromium: { type: 'string' }, screenshots: { type: 'string' } },
});
const [link, foreign, email] = positionals;
const graphql = `${new URL(link).origin}/graphql`;
const password = 'a password that is new';

/** Runs a mutation from the page; the data and errors, or the name of what the browser refused. */
const call = (page, field, input, credentials = 'same-origin') =>
  page.evaluate(
    async ({ graphql, field, input, credentials }) => {
      const type = `${field[0].toUpperCase()}${field.slice(1)}Input`;
      const query = `mutation ($input: ${type}!) {
        ${field}(input: $input) { session { accessToken refreshToken } } }`;
      try {
        const response = await fetch(graphql, {
          method: 'POST',
          credentials,
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify({ query, variables: { input } }),
        });
        const { data, errors } = await response.json();
        return errors ? errors[0].extensions.code : data[field].session;
      } catch (error) {
        return error.name;
      }
    },
    { graphql, field, input, credentials }
  );

async function resetsPassword(page) {
  const complaints = [];
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.goto(link);
  await page.getByLabel('New password').fill(password);
  await page.getByLabel('Repeat it').fill('something else');
  await page.getByRole('button').click();
  await page.getByText('The passwords differ.').waitFor();
  await page.getByLabel('Repeat it').fill(password);
  await page.getByRole('button').click();
  await page.getByText(`The password is set. Sign in as ${email}.`).waitFor();
  assert.equal(new URL(page.url()).hash, '');
  await page.goto('about:blank'); // else only the fragment changes
  await page.goto(link);
  await page.getByLabel('New password').fill(password);
  await page.getByLabel('Repeat it').fill(password);
  await page.getByRole('button').click();
  await page.getByText('already used or has expired').waitFor();
  await page.screenshot({ path: `${options.screenshots}/reset-password.png` });
  assert.deepEqual(complaints, []);
}

const cookieOf = async (context) => {
  const cookies = await context.cookies(graphql);
  const [cookie, ...others] = cookies.filter(({ name }) => name !== 'howdah-device');
  assert.deepEqual(others, []);
  return cookie;
};

async function keepsTokenInCookie(context, page) {
  const session = await call(page, 'signIn', { email, password, cookie: true });
  assert.equal(session.refreshToken, null);
  const cookie = await cookieOf(context);
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path], [true, 'Strict', '/graphql']);
  assert.equal(await page.evaluate(() => document.cookie), '');
  const tab = await context.newPage();
  await tab.goto(link);
  const sessions = await Promise.all([page, tab].map((tab) => call(tab, 'refreshSession', {})));
  for (const { accessToken, refreshToken } of sessions) {
    assert.match(accessToken, /\./);
    assert.equal(refreshToken, null);
  }
  assert.notEqual((await cookieOf(context)).value, cookie.value);
}

async function refusesForeignPage(context, page) {
  const { value } = await cookieOf(context);
  const other = await context.newPage();
  await other.goto(foreign);
  assert.equal(await call(other, 'refreshSession', {}, 'include'), 'TypeError'); // without CORS
  assert.equal(await call(other, 'refreshSession', {}, 'omit'), 'FORBIDDEN');
  assert.equal(await call(other, 'signIn', { email, password, cookie: true }, 'omit'), 'FORBIDDEN');
  await other.evaluate((graphql) => {
    const body = '{"query": "mutation { refreshSession(input: {}) { user { id } } }", "x": "';
    document.body.innerHTML = `<form method="post" enctype="text/plain" action="${graphql}">
      <input name='${body}' value='"}'><button>Send</button></form>`;
  }, graphql);
  await other.getByRole('button').click();
  await other.getByText('HOWDAH_ALLOWED_ORIGINS').or(other.getByText('not declared as JSON')).waitFor();
  assert.equal((await cookieOf(context)).value, value);
  assert.equal((await call(page, 'refreshSession', {})).refreshToken, null);
}

const browser = await chromium.launch({ executablePath: options.chromium, args: ['--no-sandbox'] });
try {
  const context = await browser.newContext();
  const page = await context.newPage();
  await resetsPassword(page);
  await keepsTokenInCookie(context, page);
  await refusesForeignPage(context, page);
} finally {
  await browser.close();
}
