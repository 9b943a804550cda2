// As whom the operations of GraphiQL run, signing out, and links that fill its editors.

import assert from 'node:assert/strict';

const account = (page, text) => page.locator('.howdah-account', { hasText: text });
const editor = (page, name) => page.locator(`${name} .view-lines`);

/** The address fills a tab of its own, beside those of the browser, and runs nothing. */
export async function checkLink(page, seen, url) {
  const query = 'mutation First { createTask(input: {title: "One"}) { task { id } } }\nquery Second { viewer { id } }';
  const link = new URLSearchParams({ query, variables: '{"linked": true}', operationName: 'Second' });
  const tabs = await page.locator('.graphiql-tab-button').count();
  const before = seen.urls.length;
  await page.goto(`${url}?${link}`);
  await editor(page, '.graphiql-query-editor').filter({ hasText: 'mutation First' }).waitFor();
  await editor(page, '[aria-label=Variables]').filter({ hasText: /"linked":\s*true/ }).waitFor();
  assert.equal(await page.locator('.graphiql-tab-button').count(), tabs + 1);
  await account(page, 'admin@howdah.local').waitFor(); // the last that the page asks for
  assert.equal(await page.locator('.result-window .view-lines').textContent(), '', 'nothing has run');
  assert.ok(!seen.urls.slice(before).some((one) => one.includes('/sign-in')));

  // The cursor is in the operation that the link names, so that Ctrl-Enter runs it.
  await page.locator('.graphiql-query-editor .line-numbers.active-line-number', { hasText: '2' }).waitFor();
  await page.locator('.graphiql-tab.graphiql-tab-active').getByRole('button', { name: 'Close Tab' }).click();
  await page.goto(url);
}

/** The corner names the token of the Headers tab, else the user of the session. */
export async function checkOwnToken(page) {
  await account(page, 'Token of the Headers tab').waitFor();
}

/** Ends the session at the server, so a copy of the browser tab is signed out too. */
export async function checkSignOut(page) {
  await account(page, 'admin@howdah.local').waitFor();
  const session = await page.evaluate(() => sessionStorage.getItem('howdah:sign-in'));
  await checkFailedSignOut(page);
  await page.evaluate((text) => sessionStorage.setItem('howdah:sign-in', text), session);
  await page.reload();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await account(page, 'Not signed in').waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.getItem('howdah:sign-in')), null);
  const answer = await page.evaluate(async (authorization) => {
    const headers = { 'Content-Type': 'application/json', Authorization: authorization };
    const response = await fetch('/graphql/sign-in/renew', { method: 'POST', headers });
    return response.status;
  }, `Bearer ${JSON.parse(session).accessToken}`);
  assert.equal(answer, 401);
  assert.equal(await page.locator('.howdah-notice').count(), 0);
}

/** The page forgets a session that the server does not end, and says what is left to do. */
async function checkFailedSignOut(page) {
  const errors = [{ message: 'The server is stopping.' }];
  await page.route('**/graphql', (route) => route.fulfill({ json: { data: null, errors } }));
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.locator('.howdah-notice', { hasText: 'The server is stopping.' }).filter({ hasText: 'endSession' }).waitFor();
  await account(page, 'Not signed in').waitFor();
  await page.unroute('**/graphql');
}
