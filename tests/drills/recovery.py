"""Recovery: the times (RTO) and losses (RPO) after the database, the server or the disk is lost.

Clients write all the time. What was acknowledged must be there afterwards, once.
"""

import asyncio
import itertools
import shutil
import time
from pathlib import Path

import asyncpg
import httpx

from db.postgres.embedded import use_running_server
from db.settings import Settings
from tests.drills.frame import Figure, Plan
from tests.fixtures.patience import patience
from tests.fixtures.served import Served, served
from tests.graph.commands.test_cli import howdah

WRITE = """mutation($title: String!) {
  createTask(input: {title: $title, idempotencyKey: $title}) { task { id } } }"""
COUNT = "query($search: String) { tasks(first: 1, filter: {search: $search}) { totalCount } }"
TITLES = """query($after: String) {
  tasks(first: 1000, after: $after, filter: {search: "written"}) {
    nodes { title } pageInfo { endCursor hasNextPage } } }"""
FILL = """WITH owners AS (
        INSERT INTO users (id, email, name) VALUES (uuidv7(), 'full@example.com', 'Full')
        RETURNING id)
    INSERT INTO tasks (id, owner_id, title, created_at)
    SELECT uuidv7(), owners.id, 'Task number ' || n,
        timestamptz '2026-01-01Z' + n * interval '61 s'
    FROM owners, generate_series(1, $1::int) AS n"""
WRITERS = 4
ENOUGH = 40
TASKS = 100_000
KEYS = ("secret_key", "credential_key")


async def drill(plan: Plan) -> list[Figure]:
    folder, backup = plan.folder / "old", plan.folder / "backup.howdah"
    async with served(folder) as server:
        database_s, acknowledged = await write_through_a_kill(server, "database")
        saved = [] if plan.is_quick else [await back_up(folder, backup)]
        _, more = await write_through_a_kill(server, "both")
    began = time.monotonic()
    async with served(folder) as server:
        await server.ask(COUNT)
        both_s = time.monotonic() - began
        found = await written(server)
    if saved:
        saved += await restore(backup, folder, plan.folder / "new")
    lost = (acknowledged | more) - set(found)
    return [
        Figure("acknowledged writes that were lost", 0, len(lost)),
        Figure("writes that were done twice", 0, len(found) - len(set(found))),
        Figure("the database is killed: until a write succeeds", 5, database_s, "s"),
        Figure("both are killed: from the start to an answer", 15, both_s, "s"),
        *saved,
    ]


async def write_through_a_kill(server: Served, victim: str) -> tuple[float, set[str]]:
    """Returns the time until a write succeeded after the kill, and the acknowledged titles."""
    acknowledged: set[str] = set()
    titles = (f"written {victim} {number}" for number in itertools.count())
    enough, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        while not ended.is_set():
            title = next(titles)
            if await write(server, title):
                acknowledged.add(title)
            if len(acknowledged) >= ENOUGH:
                enough.set()

    async with patience(), asyncio.TaskGroup() as writers:
        for _ in range(WRITERS):
            writers.create_task(work())
        await enough.wait()
        await server.kill(victim)
        began = time.monotonic()
        if victim == "database":
            await until_written(server, "written after the kill")
        ended.set()
    return time.monotonic() - began, acknowledged


async def until_written(server: Served, title: str) -> None:
    while not await write(server, title):  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.02)


async def write(server: Served, title: str) -> bool:
    try:
        await server.ask(WRITE, title=title)
    except (httpx.TransportError, AssertionError):
        return False
    return True


async def written(server: Served) -> list[str]:
    titles, after = list[str](), None
    while True:
        page = (await server.ask(TITLES, after=after))["tasks"]
        titles += [node["title"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return titles


async def back_up(folder: Path, backup: Path) -> Figure:
    """While the folder is served."""
    connection = await asyncpg.connect(use_running_server(Settings(data_dir=folder)).database_url)
    await connection.execute(FILL, TASKS)
    await connection.close()
    began = time.monotonic()
    made = await howdah("backup", str(backup), "--data-dir", str(folder))
    assert made.code == 0, made.errors
    return Figure(f"backup of {TASKS:,} tasks", 30, time.monotonic() - began, "s")


async def restore(backup: Path, old: Path, new: Path) -> list[Figure]:
    """Restores it in a new folder, which verifies counts and checksums."""
    new.mkdir(mode=0o700)
    for name in KEYS:
        shutil.copy(old / name, new / name)
    began = time.monotonic()
    restored = await howdah("restore", str(backup), "--data-dir", str(new))
    seconds = time.monotonic() - began
    return [
        Figure("backups that cannot be restored", 0, restored.code),
        Figure(f"restore of {TASKS:,} tasks, in a new cluster", 60, seconds, "s"),
    ]
