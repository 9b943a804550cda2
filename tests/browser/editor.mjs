// Works through all steps of docs/examples/editor as a person would. Started by test_editor_app.py.

import assert from 'node:assert/strict';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const { values: options } = parseArgs({
  options: {
    page: { type: 'string' }, // address of the built app
    howdah: { type: 'string' }, // address of the server's GraphQL
    port: { type: 'string' }, // of the target database
    password: { type: 'string' },
    chromium: { type: 'string', default: '/usr/bin/chromium' },
    screenshots: { type: 'string', default: '.' },
  },
});
const email = 'gardener@example.com';
const password = 'correct horse battery';

/** Another client of the same user, without the page. */
async function ask(query, variables, token) {
  const response = await fetch(options.howdah, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  assert.equal(errors, undefined, JSON.stringify(errors));
  return data;
}

async function signUp() {
  const { signUp } = await ask(
    'mutation($input: SignUpInput!) { signUp(input: $input) { session { accessToken } } }',
    { input: { email, password, name: 'Gardener' } },
  );
  return signUp.session.accessToken;
}

/** Executes a statement as another program does. */
async function elsewhere(statement, token) {
  const { connections } = await ask('{ connections(first: 1) { nodes { id } } }', {}, token);
  const { executeQuery } = await ask(
    `mutation($input: ExecuteQueryInput!) { executeQuery(input: $input) { run {
      state error { message } rows(first: 10) { rows } } } }`,
    { input: { connectionId: connections.nodes[0].id, statement, waitMs: 30000 } },
    token,
  );
  assert.equal(executeQuery.run.state, 'SUCCEEDED', executeQuery.run.error?.message);
  return executeQuery.run.rows?.rows;
}

const shoot = (page, name) => page.screenshot({ path: path.join(options.screenshots, `editor-${name}.png`) });
const field = (page) => page.getByRole('textbox', { name: 'SQL' });
const button = (page, name) => page.getByRole('button', { name, exact: true });
const cell = (page, text) => page.getByRole('cell', { name: text, exact: true });
const status = (page, text) => page.getByRole('status').filter({ hasText: text }).waitFor();
const session = (page, text) => page.getByLabel('Session', { exact: true }).filter({ hasText: text }).waitFor();

async function write(page, statement) {
  await field(page).fill(statement);
  await field(page).press('Escape'); // closes the list of completions
}

async function run(page, statement, expected) {
  await write(page, statement);
  await button(page, 'Run').click();
  await status(page, expected);
}

async function connect(page) {
  await page.goto(options.page);
  await page.getByLabel('E-mail').fill(email);
  await page.getByLabel('Password').fill(password);
  await button(page, 'Sign in').click();
  const values = { Name: 'Garden', Port: options.port, User: 'ada', Password: options.password };
  for (const [label, value] of Object.entries(values)) await page.getByLabel(label, { exact: true }).fill(value);
  await page.getByLabel('Password', { exact: true }).fill('a wrong password');
  await button(page, 'Connect').click();
  await page.getByRole('alert').filter({ hasText: 'refused this user or password' }).waitFor();
  await page.getByLabel('Password', { exact: true }).fill(options.password);
  await button(page, 'Connect').click();
}

async function sidebar(page) {
  await page.getByText('garden', { exact: true }).click();
  await page.getByText('plants', { exact: true }).click();
  await page.getByRole('listitem').filter({ hasText: 'height numeric(6,2)' }).waitFor();
  await page.getByLabel('Search', { exact: true }).fill('plan');
  await page.getByRole('listitem').filter({ hasText: 'plants table' }).getByRole('button').click();
  await field(page).filter({ hasText: '"garden"."plants"' }).waitFor();
  await page.getByLabel('Search', { exact: true }).fill('');
}

async function completion(page) {
  await field(page).fill("SELECT '🌱', p.");
  await field(page).press('End');
  await field(page).pressSequentially('hei FROM garden.plants p');
  for (let left = 0; left < ' FROM garden.plants p'.length; left += 1) await field(page).press('ArrowLeft');
  await field(page).press('Control+Space');
  await page.getByRole('option', { name: 'height' }).waitFor();
  await shoot(page, 'completion');
  await page.getByRole('option', { name: 'height' }).click();
  assert.equal(await field(page).innerText(), "SELECT '🌱', p.height FROM garden.plants p");
}

async function runs(page) {
  await run(page, 'SELECT 1 +\n  nothing', 'FAILED');
  await page.getByRole('alert').filter({ hasText: 'Line 2, column 3: column "nothing" does not exist' }).waitFor();
  await run(page, 'SELECT pg_sleep(600)', 'RUNNING');
  await button(page, 'Cancel').click();
  await status(page, 'CANCELLED');
}

async function grid(page) {
  await run(page, 'SELECT id, name AS plant, height, notes FROM garden.plants ORDER BY id', 'SUCCEEDED 120 rows');
  await cell(page, 'Fern 1').waitFor();
  await button(page, 'Next').click();
  await page.getByText('Rows 51 to 100 of 120').waitFor();
  await cell(page, 'Fern 51').waitFor();
  await button(page, 'height numeric').click();
  await cell(page, '0.25').waitFor();
  await button(page, 'height numeric ↑').click();
  await cell(page, 'Rose 120').waitFor();
  await page.getByLabel('Filter plant').fill('ROSE');
  await page.getByText('Rows 1 to 12 of 12').waitFor();
  await page.locator('td', { hasText: /^green.*…$/ }).first().dblclick();
  const value = page.getByRole('dialog', { name: 'Value' });
  await value.getByText('green '.repeat(120).trim()).waitFor();
  await button(value, 'Close').click();
  await page.getByLabel('Filter plant').fill('');
}

async function plan(page) {
  await write(page, 'SELECT * FROM garden.plants WHERE height > 10 ORDER BY name');
  await button(page, 'Explain and measure').click();
  await page.getByLabel('Plan').getByText('Seq Scan plants').waitFor();
  await page.getByLabel('Plan').getByText('80 seen').first().waitFor();
  await shoot(page, 'plan');
}

async function edit(page, token) {
  await run(page, 'SELECT id, name, height FROM garden.plants WHERE id <= 3 ORDER BY id', 'SUCCEEDED 3 rows');
  const change = async (before, after) => {
    await cell(page, before).dblclick();
    await page.getByRole('dialog').getByRole('textbox').fill(after);
    await button(page.getByRole('dialog'), 'Save').click();
  };
  await change('Fern 1', 'Lily 1');
  await cell(page, 'Lily 1').waitFor();
  assert.deepEqual(await elsewhere('SELECT name FROM garden.plants WHERE id = 1', token), [['Lily 1']]);

  await elsewhere("UPDATE garden.plants SET name = 'Moss 2' WHERE id = 2", token);
  await change('Fern 2', 'Lily 2');
  await page.getByRole('alert').filter({ hasText: 'It was changed to Moss 2.' }).waitFor();
  await shoot(page, 'conflict');
  await button(page, 'Overwrite').click();
  await cell(page, 'Lily 2').waitFor();

  await change('3', 'three');
  await page.getByRole('alert').filter({ hasText: 'invalid input syntax for type integer: "three"' }).waitFor();
  await page.getByRole('dialog').getByRole('textbox').fill('300');
  await button(page.getByRole('dialog'), 'Save').click();
  await cell(page, '300').waitFor();
  await cell(page, 'Fern 3').dblclick(); // by the new key
  await button(page, 'Set to NULL').click();
  await page.getByRole('alert').filter({ hasText: 'null value in column "name"' }).waitFor();
  await button(page, 'Cancel').click();
}

async function save(page) {
  await write(page, 'SELECT count(*) FROM garden.plants');
  await page.getByLabel('Name of the query').fill('How many plants');
  await button(page, 'Save').click();
  await page.getByRole('option', { name: 'How many plants' }).waitFor({ state: 'attached' });
  const saved = page.getByLabel('Saved query', { exact: true });
  await saved.selectOption({ label: 'New query' });
  await write(page, 'SELECT 2');
  await saved.selectOption({ label: 'How many plants' });
  await field(page).filter({ hasText: 'SELECT count(*) FROM garden.plants' }).waitFor();
}

async function transaction(page, token) {
  await button(page, 'Begin session').click();
  await session(page, 'IDLE');
  await run(page, 'DELETE FROM garden.plants WHERE id = 300', 'SUCCEEDED DELETE');
  await session(page, 'IN_TRANSACTION');
  await button(page, 'Roll back').click();
  await session(page, 'IDLE');
  await run(page, 'DELETE FROM garden.plants WHERE id = 4', 'SUCCEEDED DELETE');
  await session(page, 'IN_TRANSACTION');
  await button(page, 'Commit').click();
  await session(page, 'IDLE');
  await button(page, 'Close session').click();
  await button(page, 'Begin session').waitFor();
  assert.deepEqual(await elsewhere('SELECT id FROM garden.plants WHERE id IN (300, 4)', token), [[300]]);
  await run(page, 'SELECT * FROM garden.plants ORDER BY id', 'SUCCEEDED 119 rows');
  await cell(page, 'Lily 2').waitFor();
  for (const name of ['garden', 'plants']) await page.getByText(name, { exact: true }).click();
  await page.getByRole('listitem').filter({ hasText: 'height numeric(6,2)' }).waitFor();
  await shoot(page, 'grid'); // docs/images/editor.png
}

const browser = await chromium.launch({ executablePath: options.chromium, args: ['--no-sandbox', '--disable-gpu'] });
const page = await browser.newPage({ viewport: { width: 1180, height: 780 } });
page.setDefaultTimeout(60_000);
const complaints = [];
page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()));
page.on('pageerror', (error) => complaints.push(String(error)));
try {
  const token = await signUp();
  await connect(page);
  await sidebar(page);
  await completion(page);
  await runs(page);
  await grid(page);
  await plan(page);
  await edit(page, token);
  await save(page);
  await transaction(page, token);
  assert.deepEqual(complaints, []);
} catch (error) {
  await shoot(page, 'failed');
  console.error(complaints);
  throw error;
} finally {
  await browser.close();
}
