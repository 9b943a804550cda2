"""The `seen.js` of docs/clients.md keeps the positions of a real server with standbys."""

import asyncio
import shutil
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fixtures.pages import ROOT, blocks_of
from tests.fixtures.patience import patience
from tests.fixtures.standby_readers import Reader
from tests.fixtures.standbys import StandbyGroup

SCRIPT = """
import assert from 'node:assert';
import { fetchSeen, keepSeen } from './seen.js';

const [url, token] = process.argv.slice(2);
const sent = [];
const real = fetch;
globalThis.fetch = (resource, options) => {
  sent.push(options.headers.get('Howdah-Seen'));
  return real(resource, options);
};

async function ask(query) {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const answer = await fetchSeen(url, { method: 'POST', headers, body: JSON.stringify({ query }) });
  return (await answer.json()).data;
}

for (let number = 1; number <= 5; number++) {
  await ask(`mutation { createTask(input: {title: "${number}"}) { task { id } } }`);
  assert.equal((await ask('{ taskStats { total } }')).taskStats.total, number);
}
const [first, ...others] = sent;
assert.equal(first, '');
assert(others.every((position) => /^[0-9a-f]{48}$/.test(position)));

keepSeen(null);
await Promise.all([ask('{ __typename }'), ask('{ __typename }'), ask('{ __typename }')]);
assert(sent.at(-1) !== others.at(-1) && sent.at(-2) === sent.at(-1) && sent.at(-3) === sent.at(-1));
await ask('{ __typename }');
assert.equal(sent.at(-1).split(' ').length, 3);  // one of each of the three
await ask('{ __typename }');
assert.equal(sent.at(-1).length, 48);
for (let number = 1; number <= 30; number++) keepSeen(sent.at(-1));
await ask('{ __typename }');
assert.match(sent.at(-1), /^-( [0-9a-f]{48}){1,19}$/);
await ask('{ __typename }');
assert.equal(sent.at(-1).length, 48);
console.log('kept');
"""


@pytest.fixture(scope="module")
async def standby_group() -> AsyncIterator[StandbyGroup]:
    async with StandbyGroup.started("standby") as started:
        yield started


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
async def test_recipe_keeps_what_it_has_seen(reader: Reader, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    (recipe,) = [block for block in blocks_of(page) if block.title == "seen.js"]
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "seen.js").write_text(recipe.text)
    (tmp_path / "script.js").write_text(SCRIPT)
    url = f"http://{reader.replica.address}/graphql"
    process = await asyncio.create_subprocess_exec(
        *("node", "script.js", url, reader.token), cwd=tmp_path, stdout=PIPE, stderr=PIPE
    )
    async with patience():
        output, errors = await process.communicate()
    assert output == b"kept\n", errors.decode()
