"""Copies: a dump that is served with the same keys ends nothing of its original, and a restore.

The copy is served for longer than a process may be silent before others take over its work.
"""

import asyncio
import time
from urllib.parse import urlsplit

from tests.drills.fence import execute, read, save
from tests.drills.frame import Figure, Plan, Stage, opened_stage
from tests.fixtures.connected import connected
from tests.fixtures.copies import dump_into
from tests.fixtures.served import Served
from tests.fixtures.session_desk import SessionDesk, open_session
from tests.graph.commands.test_cli import howdah

SERVED_S = 45.0
FILL = """
DROP INDEX ix_tasks_search;
INSERT INTO users (id, email, name)
SELECT gen_random_uuid(), n || '@example.com', 'User' FROM generate_series(1, 1000) AS n;
INSERT INTO tasks (id, owner_id, title, description)
SELECT gen_random_uuid(), users.id, 'Task ' || n || ' ' || md5(n::text),
    CASE WHEN n % 4 > 0 THEN 'Remember the milk, the bread and the elephant.' END
FROM users, generate_series(1, {}) AS n WHERE users.email LIKE '%@example.com'
"""
ACTIVE = """SELECT (SELECT count(*) FROM query_runs WHERE state IN ('QUEUED', 'RUNNING'))
    + (SELECT count(*) FROM database_sessions WHERE closed_at IS NULL)"""
ASLEEP = """SELECT count(*) FROM pg_stat_activity
    WHERE state = 'active' AND query = 'SELECT pg_sleep(600)'"""


async def drill(plan: Plan) -> list[Figure]:
    async with opened_stage(plan) as stage:
        superuser_url = stage.own.superuser_url
        copy_url, back_url = [
            await _make_database(superuser_url, name) for name in ("copy", "back")
        ]
        async with stage.served("original", stage.own.url) as original:
            figures = await _serve_copy(stage, original, copy_url)
            return [*figures, *await _restore(stage, copy_url, back_url)]


async def _make_database(superuser_url: str, name: str) -> str:
    """An empty database of the superuser, who alone may restore all extensions."""
    await _run(superuser_url, f"CREATE DATABASE {name}")
    return urlsplit(superuser_url)._replace(path=f"/{name}").geturl()


async def _serve_copy(stage: Stage, original: Served, copy_url: str) -> list[Figure]:
    plan, target = stage.plan, stage.target
    connection = await save(original, target, typed=False)
    run = await execute(original, connection, "SELECT pg_sleep(600)", timeoutMs=600_000)
    desk = await open_session(original, connection)
    await desk.do("BEGIN")
    await dump_into(stage.own.superuser_url, copy_url, plan.folder)
    async with stage.served("copy", copy_url):
        await asyncio.sleep(1 if plan.is_quick else SERVED_S)
        left = await _run(copy_url, ACTIVE)
    figures = [
        Figure(
            "statements of the original that were ended", 0, 1 - await target.administer(ASLEEP)
        ),
        Figure("runs of the original that ended", 0, await _has_ended(original, run["id"])),
        Figure("sessions of the original that lost their transaction", 0, await _is_lost(desk)),
        Figure("runs and sessions that are active in the copy", 0, left),
    ]
    await original.ask(
        "mutation($id: ID!) { cancelQuery(input: {id: $id}) { outcome } }", id=run["id"]
    )
    return figures


async def _has_ended(server: Served, run: str) -> bool:
    return bool((await read(server, run))["state"] != "RUNNING")


async def _is_lost(desk: SessionDesk) -> bool:
    return await desk.state() != "IN_TRANSACTION"


async def _restore(stage: Stage, source_url: str, target_url: str) -> list[Figure]:
    """A backup of a million tasks, into an empty database."""
    of_each = 2 if stage.plan.is_quick else 1_000
    await _run(source_url, FILL.format(of_each))
    path = str(stage.plan.folder / "million.howdah")
    made = await howdah("backup", path, **stage.environment(source_url))
    assert made.code == 0, made.errors
    began = time.monotonic()
    restored = await howdah("restore", path, **stage.environment(target_url))
    took_s = time.monotonic() - began
    assert restored.code == 0, restored.errors
    count = await _run(target_url, "SELECT count(*) FROM tasks")
    return [
        Figure("restoring a million tasks takes", 60, took_s, "s"),
        Figure("tasks that are missing", 0, abs(of_each * 1_000 - count)),
    ]


async def _run(url: str, sql: str) -> int:
    """Executes SQL; returns the value of a query, and 0 for a script."""
    async with connected(url) as connection:
        if sql.lstrip().startswith("SELECT"):
            return int(await connection.fetchval(sql))
        await connection.execute(sql)
        return 0
