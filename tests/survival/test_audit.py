"""Acts and their audit events survive SIGKILL together, and the commands show them."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import httpx

from tests.fixtures.patience import patience
from tests.fixtures.served import Served, served

SAVE = """mutation($input: SaveConnectionInput!) {
  saveConnection(input: $input) { connection { id } } }"""
CONNECTIONS = "{ connections(first: 1000) { nodes { id } } }"
FIELDS = {"host": "127.0.0.1", "port": 1, "database": "d", "username": "u"}


async def save(server: Served, number: int) -> str:
    made = await server.ask(SAVE, input=FIELDS | {"name": f"{number}"})
    return str(made["saveConnection"]["connection"]["id"])


async def command(*words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "graph.commands.main", *words), stdout=PIPE, stderr=PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def test_acts_and_events_survive_a_kill_together(tmp_path: Path) -> None:
    data_dir, stream = tmp_path / "data", tmp_path / "audit.jsonl"
    data_dir.mkdir()
    acknowledged: list[str] = []
    async with served(data_dir, HOWDAH_AUDIT_LOG=str(stream)) as server:
        enough, numbers = asyncio.Event(), iter(range(900))

        async def work() -> None:
            for number in numbers:
                try:
                    acknowledged.append(await save(server, number))
                except (httpx.TransportError, AssertionError):
                    return
                if len(acknowledged) >= 40:
                    enough.set()

        async with asyncio.TaskGroup() as workers:
            for _ in range(6):
                workers.create_task(work())
            await enough.wait()
            await server.kill("both")
    async with served(data_dir, HOWDAH_AUDIT_LOG=str(stream)) as server:
        saved = {node["id"] for node in (await server.ask(CONNECTIONS))["connections"]["nodes"]}
        folder = ("--data-dir", str(data_dir))
        printed = await command("audit", "--json", "--kind", "CONNECTION_SAVED", *folder)
        events = [json.loads(line) for line in printed.splitlines()]
        assert {event["subjectId"] for event in events} == saved
        assert set(acknowledged) <= saved
        assert {event["actorEmail"] for event in events} == {"admin@howdah.local"}
        created = await command("audit", "--user", "admin@howdah.local", "--since", "1h", *folder)
        assert "USER_CREATED" in created
        async with patience():
            while not stream.exists() or len(streamed(stream)) < len(saved):  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.05)
        assert streamed(stream) == saved
        assert stream.stat().st_mode & 0o777 == 0o600


def streamed(path: Path) -> set[str]:
    """The connections that the stream tells of; an event can be in it twice after a kill."""
    events = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return {event["subjectId"] for event in events if event["kind"] == "CONNECTION_SAVED"}
