"""The script of docs/tasks.md receives changes. test_guide.py runs the other blocks of the page."""

import asyncio
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.fixtures.pages import CLIENTS, ROOT, blocks_of, has_npm_clients
from tests.fixtures.patience import patience
from tests.fixtures.served import served

TEXT = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000/graphql"


@pytest.mark.skipif(not has_npm_clients(), reason="needs Node.js and `make clients`")
async def test_tasks_page_subscription_receives_changes(tmp_path: Path) -> None:
    (script,) = [block.text for block in blocks_of(TEXT) if block.language == "js"]
    assert ADDRESS in script
    (tmp_path / "data").mkdir()
    async with served(tmp_path / "data") as server:
        token = server.http.headers["Authorization"].removeprefix("Bearer ")
        page = script.replace(ADDRESS, server.address)
        page = page.replace("paste the access token here", token)
        process = await asyncio.create_subprocess_exec(
            *("node", "--experimental-websocket", "--input-type=module", "-e", page),
            cwd=CLIENTS,
            stdout=PIPE,
        )
        assert process.stdout is not None
        try:
            async with patience():
                assert await process.stdout.readline() == b"0 open: \n"
                await server.ask('mutation { createTask(input: {title: "Feed"}) { task { id } } }')
                assert await process.stdout.readline() == b"1 open: Feed\n"
        finally:
            process.kill()
            await process.communicate()
