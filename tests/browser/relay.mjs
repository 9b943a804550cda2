import assert from 'node:assert/strict';
import { drive } from './example_app.mjs';

/** Keeps Relay's environments where `checkStore` finds them: Relay tells the hook of its developer tools about each. */
const prepare = (context) =>
  context.addInitScript(() => {
    globalThis.relayEnvironments = [];
    globalThis.__RELAY_DEVTOOLS_HOOK__ = {
      registerEnvironment: (environment) => globalThis.relayEnvironments.push(environment),
    };
  });

const TYPES = { task: 'Task', user: 'User' };

/** Relay keys records by `id`: two types with the same ID would overwrite each other. */
async function checkStore(page) {
  const records = await page.evaluate(() => {
    const sources = globalThis.relayEnvironments.map((environment) => environment.getStore().getSource());
    return sources.flatMap((source) => source.getRecordIDs().map((id) => [id, source.get(id)?.__typename]));
  });
  const objects = records.filter(([id]) => /^[a-z]+_[0-9a-f]{32}$/.test(id));
  assert.ok(objects.length > 20);
  for (const [id, type] of objects) assert.equal(type, TYPES[id.split('_')[0]], id);
  const changes = records.filter(([, type]) => type === 'TaskChange');
  assert.ok(changes.length > 0, 'changes were received');
}

await drive('relay', { prepare, check: checkStore });
