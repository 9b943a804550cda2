import assert from 'node:assert/strict';
import { drive } from './example_app.mjs';

/** Keeps Relay's environment where `checkStore` finds it: Relay announces it to the hook of its developer tools. */
const prepare = (context) =>
  context.addInitScript(() => {
    globalThis.__RELAY_DEVTOOLS_HOOK__ = {
      registerEnvironment: (environment) => (globalThis.relayEnvironment = environment),
    };
  });

const TYPES = { task: 'Task', user: 'User' };

/** Relay keys records by `id`: two types with the same ID would overwrite each other. */
async function checkStore(page) {
  const records = await page.evaluate(() => {
    const source = globalThis.relayEnvironment.getStore().getSource();
    return source.getRecordIDs().map((id) => [id, source.get(id)?.__typename, source.get(id)?.title]);
  });
  const objects = records.filter(([id]) => /^[a-z]+_[0-9a-f]{32}$/.test(id));
  assert.ok(objects.length > 20);
  for (const [id, type] of objects) assert.equal(type, TYPES[id.split('_')[0]], id);
  const changes = records.filter(([, type]) => type === 'TaskChange');
  assert.ok(changes.length > 0, 'changes were received');
}

await drive('relay', { prepare, check: checkStore });
