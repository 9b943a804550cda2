"""Attacks by servers that a user connects to: huge cells, SSH floods, hostile PostgreSQL."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from bench.desk import EXECUTE, Desk
from bench.flood import signed_up
from tests.fixtures.hostile_postgres import ENDLESS, hostile_postgres
from tests.fixtures.huge_rows import huge_rows
from tests.fixtures.ssh_flood import flooding_ssh
from tests.security.attacks.figures import MB, Figure, Size

RUNS = 8
ADDED_MB = 200
DELAY_MS = 250
LATE_S = 2.0
TIMEOUT_MS = 2_000
EVERY_S = 0.01
SAVE = (
    "mutation($input: SaveConnectionInput!) { saveConnection(input: $input) { connection { id } } }"
)
TEST = "mutation($input: TestConnectionInput!) { testConnection(input: $input) { ok } }"
DELETE = "mutation($id: ID!) { deleteConnection(input: {id: $id}) { deletedConnectionId } }"
IDLE = ("idle-rows", "idle-notifications", "idle-parameters")
USERS = itertools.count()
END = "query($id: ID!) { queryRun(id: $id) { state error { code message } } }"


async def read_huge_cells(desk: Desk, size: Size) -> list[Figure]:
    """Megabytes that eight runs of huge cells add to the process."""
    async with huge_rows(size.cell_bytes) as port:
        mine = await desk.ask(SAVE, input=_connection(port))
        values = {
            "connectionId": mine["saveConnection"]["connection"]["id"],
            "statement": "SELECT huge",
            "waitMs": 30_000,
        }
        idle = desk.process.memory_info().rss
        async with watching(lambda: desk.process.memory_info().rss) as peak:
            started = await asyncio.gather(*(desk.ask(EXECUTE, input=values) for _ in range(RUNS)))
        for run in started:
            ended = await desk.ask(END, id=run["executeQuery"]["run"]["id"])
            assert ended["queryRun"]["error"]["code"] == "TOO_LARGE", ended
    return [Figure(f"{RUNS} runs of huge cells add", ADDED_MB, (max(peak) - idle) / MB, "MB")]


async def flood_tunnels(desk: Desk, size: Size) -> list[Figure]:
    """The longest time of a small query while SSH servers send packets without end."""
    async with contextlib.AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(flooding_ssh()) for _ in range(size.ssh_servers)]
        async with small_queries(desk) as times_ms:
            await asyncio.gather(*(desk.ask(TEST, input=_through(port)) for port in ports))
    name = "SSH servers flood; another user's longest query"
    return [Figure(name, DELAY_MS, max(times_ms), "ms")]


async def start_without_end(desk: Desk, size: Size) -> list[Figure]:
    """PostgreSQL servers that break the rules as soon as the login is accepted."""
    starts = [f"start-{name}" for name in ENDLESS if name != "columns"]
    tests = [*starts, *IDLE] * size.postgres_servers
    idle = desk.process.memory_info().rss
    async with (
        hostile_postgres() as port,
        watching(lambda: desk.process.memory_info().rss) as peak,
        small_queries(desk) as times_ms,
    ):
        for name in [*tests, "start-trickle"]:
            fields = _connection(port) | {"database": name}
            answers = await asyncio.gather(*(desk.ask(TEST, input=fields) for _ in range(RUNS)))
            assert not any(answer["testConnection"]["ok"] for answer in answers), name
    return [
        Figure("PostgreSQL floods while connecting; adds", ADDED_MB, (max(peak) - idle) / MB, "MB"),
        Figure("  another user's longest query", DELAY_MS, max(times_ms), "ms"),
    ]


async def answer_without_end(desk: Desk, size: Size) -> list[Figure]:
    """PostgreSQL servers that break the rules when a run sends its statement."""
    idle = desk.process.memory_info().rss
    late_s = 0.0
    async with (
        hostile_postgres() as port,
        watching(lambda: desk.process.memory_info().rss) as peak,
        small_queries(desk) as times_ms,
    ):
        for name in [*ENDLESS, "silence"] * size.postgres_servers:
            late_s = max(late_s, await _run_at(desk, port, f"run-{name}"))
    return [
        Figure("PostgreSQL floods in runs; adds", ADDED_MB, (max(peak) - idle) / MB, "MB"),
        Figure("  another user's longest query", DELAY_MS, max(times_ms), "ms"),
        Figure("  a run ends after its timeout by", LATE_S, late_s, "s"),
    ]


async def _run_at(desk: Desk, port: int, database: str) -> float:
    """Executes runs at once; returns by how many seconds the last ended late."""
    fields = _connection(port) | {"name": database, "database": database}
    saved = await desk.ask(SAVE, input=fields)
    connection_id = saved["saveConnection"]["connection"]["id"]
    values = {
        "connectionId": connection_id,
        "statement": "SELECT hostile",
        "timeoutMs": TIMEOUT_MS,
        "waitMs": 30_000,
    }
    began = time.perf_counter()
    runs = await asyncio.gather(*(desk.ask(EXECUTE, input=values) for _ in range(RUNS)))
    took_s = time.perf_counter() - began
    for run in runs:
        ended = (await desk.ask(END, id=run["executeQuery"]["run"]["id"]))["queryRun"]
        assert ended["state"] in {"FAILED", "TIMED_OUT"}, (database, ended)
        assert ended["error"]["message"], (database, ended)
    await desk.ask(DELETE, id=connection_id)
    return max(0.0, took_s - TIMEOUT_MS / 1000)


@contextlib.asynccontextmanager
async def small_queries(desk: Desk) -> AsyncIterator[list[float]]:
    """Milliseconds of the small queries that another user sends during the block."""
    token = await signed_up(desk, next(USERS))
    times_ms = [0.0]
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as http:

        async def ask() -> None:
            while True:
                began = time.perf_counter()
                answer = await http.post(desk.address, json={"query": "{ viewer { id } }"})
                times_ms.append((time.perf_counter() - began) * 1000)
                assert "errors" not in answer.json(), answer.text
                await asyncio.sleep(EVERY_S)

        task = asyncio.create_task(ask())
        try:
            yield times_ms
        finally:
            assert not task.done(), task.exception()
            task.cancel()


@contextlib.asynccontextmanager
async def watching(measure: Callable[[], int]) -> AsyncIterator[list[int]]:
    figures = [measure()]

    async def watch() -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            figures.append(measure())

    task = asyncio.create_task(watch())
    try:
        yield figures
    finally:
        task.cancel()


def _connection(port: int) -> dict[str, Any]:
    return {
        "name": f"Hostile {port}",
        "host": "127.0.0.1",
        "port": port,
        "database": "postgres",
        "username": "ada",
        "sslMode": "DISABLE",
    }


def _through(port: int) -> dict[str, Any]:
    tunnel = {
        "host": "127.0.0.1",
        "port": port,
        "username": "ada",
        "authMethod": "PASSWORD",
        "password": "none",
        "hostKeyFingerprint": "SHA256:" + "A" * 43,
    }
    return _connection(5432) | {"sshTunnel": tunnel}
