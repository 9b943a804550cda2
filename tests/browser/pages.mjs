// Runs a module of a page of docs/ in Chromium and prints what it writes to the console:
//   node pages.mjs ADDRESS MODULE            one tab
//   node pages.mjs ADDRESS MODULE --tabs     two tabs share the session that the module keeps
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    chromium: { type: 'string', default: '/usr/bin/chromium' },
    screenshots: { type: 'string' },
    tabs: { type: 'boolean', default: false },
  },
});
const [address, name] = positionals;
const module = `${address}/${name}`;
const browser = await chromium.launch({ executablePath: values.chromium, args: ['--no-sandbox'] });
const context = await browser.newContext();

async function open() {
  const page = await context.newPage();
  page.on('console', (message) => message.type() === 'log' && console.log(message.text()));
  page.on('pageerror', (error) => {
    console.error(error);
    process.exitCode = 1;
  });
  await page.goto(`${address}/index.html`);
  return page;
}

const ask = (tab) =>
  tab.evaluate(async (url) => {
    const { viewer } = await (await import(url)).ask('{ viewer { name } }');
    return viewer?.name ?? 'signed out';
  }, module);

/** Changes the stored session as time or the server would. */
const change = (tab, changes) =>
  tab.evaluate((changes) => {
    const [key] = Object.keys(localStorage);
    localStorage.setItem(key, JSON.stringify({ ...JSON.parse(localStorage.getItem(key)), ...changes }));
  }, changes);

async function share() {
  let refreshes = 0;
  context.on('request', (request) => {
    refreshes += request.postData()?.includes('refreshSession(') ? 1 : 0;
  });
  const tabs = [await open(), await open()];
  await tabs[0].evaluate(async (url) => {
    await (await import(url)).signIn('me@example.com', 'correct horse battery');
  }, module);
  const report = async (event) => console.log(event, ...(await Promise.all(tabs.map(ask))), refreshes);
  await report('signed in:');
  await change(tabs[0], { renewAt: 0 });
  await report('expired:');
  await change(tabs[1], { accessToken: 'no.longer.valid' });
  await report('refused:');
  await tabs[1].evaluate(async (url) => {
    await (await import(url)).signOut();
  }, module);
  await report('signed out:');
}

if (values.tabs) await share();
else await (await open()).evaluate((url) => import(url), module);
await browser.close();
