"""Acknowledged changes survive SIGKILL of the server and its database."""

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.fixtures.served import Served, served

CREATE = """
mutation($title: String!, $key: String) {
  createTask(input: {title: $title, idempotencyKey: $key}) { task { id } }
}
"""
TITLES = "{ tasks(first: 1000) { nodes { id title } totalCount } }"


async def tasks(server: Served) -> dict[str, str]:
    """The ID of each task by its title; titles are unique."""
    page = (await server.ask(TITLES))["tasks"]
    found = {node["title"]: node["id"] for node in page["nodes"]}
    assert len(found) == page["totalCount"]
    return found


async def create(server: Served, title: str, key: str | None = None) -> str:
    made = await server.ask(CREATE, title=title, key=key)
    return str(made["createTask"]["task"]["id"])


async def test_tasks_survive_killed_server_and_database(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    async with served(data_dir) as server:
        titles = [f"{number}" for number in range(50)]
        ids = await asyncio.gather(*(create(server, title) for title in titles))
        await server.kill("both")
    async with served(data_dir) as server:
        assert await tasks(server) == dict(zip(titles, ids, strict=True))
    async with served(data_dir) as server:
        assert len(await tasks(server)) == 50


@pytest.mark.parametrize("victim", ["server", "database", "both"])
async def test_retries_after_kill_create_each_task_once(tmp_path: Path, victim: str) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    keys = [f"key {number}" for number in range(300)]
    acknowledged: dict[str, str] = {}
    async with served(data_dir) as server:
        enough = asyncio.Event()
        left = iter(keys)

        async def work() -> None:
            for key in left:
                try:
                    acknowledged[key] = await create(server, key, key)
                except (httpx.TransportError, AssertionError):
                    return
                if len(acknowledged) >= 60:
                    enough.set()

        async with asyncio.TaskGroup() as workers:
            for _ in range(8):
                workers.create_task(work())
            await enough.wait()
            await server.kill(victim)
    if victim != "database":  # that is started again so fast that few requests notice
        assert len(acknowledged) < len(keys)
    async with served(data_dir) as server:
        again = {key: await create(server, key, key) for key in keys}
        assert await tasks(server) == again
    assert acknowledged.items() <= again.items()
