"""The blocks of docs/tasks.md work in their order."""

import asyncio
import json
import re
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fixtures.clients import Client
from tests.fixtures.served import Served, served

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8000/graphql"
ANY_TASK = "task_0123456789abcdef0123456789abcdef"
CLIENTS = ROOT / "tests" / "clients"


def blocks(language: str) -> list[str]:
    return [body for kind, body in BLOCKS if kind == language]


def operations() -> list[tuple[str, str]]:
    """Each operation with the variables that follow it."""
    following = [*BLOCKS[1:], ("", "")]
    return [
        (body, after if kind_after == "json" else "{}")
        for (kind, body), (kind_after, after) in zip(BLOCKS, following, strict=True)
        if kind == "graphql"
    ]


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    data_dir = tmp_path_factory.mktemp("docs") / "data"
    data_dir.mkdir()
    async with served(data_dir) as running:
        yield running


async def test_tasks_page_operations_succeed_in_order(ada: Client) -> None:
    answers = {}
    task_id = ""
    for operation, variables in operations():
        answer = await ada.send(operation, **json.loads(variables.replace(ANY_TASK, task_id)))
        assert not answer.errors, f"correct docs/tasks.md:\n{operation}\n{answer.errors}"
        found = answer.data
        answers.update(found)
        if "createTask" in found:
            task_id = found["createTask"]["task"]["id"]
    assert answers["tasks"]["totalCount"] == 1
    assert answers["updateTask"]["task"]["version"] == 2
    assert answers["toggleTask"]["task"]["completed"]
    assert answers["node"]["title"] == "Feed both elephants"
    assert answers["deleteTask"] == {"deletedTaskId": task_id}
    assert answers["importTasks"]["created"] == 1


async def test_tasks_page_terminal_commands_sign_in(server: Served, tmp_path: Path) -> None:
    (script,) = blocks("bash")
    assert ADDRESS in script
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euc", script.replace(ADDRESS, server.address)),
        cwd=tmp_path,
        stdout=PIPE,
        stderr=PIPE,
    )
    said, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert said.endswith(b'{"data":{"viewer":{"email":"me@example.com"}}}')


@pytest.mark.skipif(
    not (CLIENTS / "node_modules").is_dir(), reason="needs npm install --prefix tests/clients"
)
async def test_tasks_page_subscription_receives_changes(server: Served) -> None:
    (script,) = blocks("js")
    token = server.http.headers["Authorization"].removeprefix("Bearer ")
    assert ADDRESS in script
    page = script.replace(ADDRESS, server.address).replace("paste the access token here", token)
    process = await asyncio.create_subprocess_exec(
        *("node", "--experimental-websocket", "--input-type=module", "-e", page),
        cwd=CLIENTS,
        stdout=PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"0 open: \n"
            await server.ask('mutation { createTask(input: {title: "Feed"}) { task { id } } }')
            assert await process.stdout.readline() == b"1 open: Feed\n"
    finally:
        process.kill()
        await process.communicate()
