"""The script of docs/scripts.md prints what the page says."""

import asyncio
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.docs.test_docs_runs import SAVE
from tests.fixtures.pages import blocks_of
from tests.fixtures.served import served
from tests.fixtures.targets import CANARY, Target

TEXT = (Path(__file__).parents[2] / "docs" / "scripts.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
async def test_scripts_page_script_prints_its_output(target: Target, tmp_path: Path) -> None:
    texts = {block.title: block.text for block in blocks_of(TEXT)}
    script, output = texts["script.mjs"], texts["Output"]
    (tmp_path / "data").mkdir()
    async with served(tmp_path / "data") as server:
        connection = {
            "name": "Target", "host": "localhost", "port": target.port, "database": "postgres",
            "username": "ada", "password": CANARY, "savePassword": True,
        }  # fmt: skip
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
            *("node", "--input-type=module", "-e", script), stdout=PIPE, stderr=PIPE
        )
        said, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert said.decode() == output
