"""The script of docs/runs.md works with the graphql-ws client."""

import asyncio
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.fixtures.pages import blocks_of
from tests.fixtures.served import served
from tests.fixtures.targets import Target

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "runs.md").read_text(encoding="utf-8")
CLIENTS = ROOT / "tests" / "clients"
SAVE = """mutation($input: SaveConnectionInput!) {
  saveConnection(input: $input) { connection { id } } }"""


@pytest.mark.skipif(
    not (CLIENTS / "node_modules").is_dir(), reason="needs npm install --prefix tests/clients"
)
async def test_runs_page_operations_succeed_in_order(target: Target, tmp_path: Path) -> None:
    blocks = list(blocks_of(TEXT))
    (script,) = [block.text for block in blocks if block.language == "js"]
    output = next(block.text for block in blocks if block.title == "Output")
    (tmp_path / "data").mkdir()
    async with served(tmp_path / "data") as server:
        connection = target.connection(savePassword=True)
        saved = await server.ask(SAVE, input=connection)
        ours = {
            "http://127.0.0.1:8000/graphql": server.address,
            "conn_0123456789abcdef0123456789abcdef": saved["saveConnection"]["connection"]["id"],
            "Bearer paste the access token here": server.http.headers["Authorization"],
        }
        for theirs, own in ours.items():
            assert theirs in script
            script = script.replace(theirs, own)
        process = await asyncio.create_subprocess_exec(
            *("node", "--experimental-global-webcrypto", "--input-type=module", "-e", script),
            cwd=CLIENTS,
            stdout=PIPE,
            stderr=PIPE,
        )
        said, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert said.decode() == output
