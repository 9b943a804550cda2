"""The columns of a result: their types, and the tables that they come from."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from db.runs import RunRow, RunState
from tests.fixtures.patience import patience
from tests.fixtures.runs import Desk

TABLES = (
    'DROP SCHEMA IF EXISTS "Odd one" CASCADE',
    'CREATE SCHEMA "Odd one"',
    "DROP TABLE IF EXISTS people CASCADE",
    "DROP DOMAIN IF EXISTS given CASCADE",
    "CREATE DOMAIN given AS text NOT NULL",
    "CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, nick text, given given)",
    "INSERT INTO people SELECT i, 'Ada', NULL, 'A' FROM generate_series(1, 5000) i",
    'CREATE TABLE "Odd one"."T" (a int)',
    "CREATE VIEW seen AS SELECT id, name FROM people",
)
_WAITS = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = {}"
ROOM = [("id", "public.people", False), ("nick", "public.people", True)]


@pytest.fixture
async def tables(desk: Desk) -> AsyncIterator[Desk]:
    for statement in TABLES:
        assert (await desk.run(statement)).error is None
    yield desk
    assert (await desk.run(TABLES[0])).error is None  # the next file may share the target


def sources_of(run: RunRow) -> list[tuple[str, str | None, bool | None]]:
    return [(one.name, one.table, one.nullable) for one in run.parsed_columns or ()]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT id, nick FROM people LIMIT 1", ROOM),
        ("SELECT id, nick FROM people WHERE false", ROOM),
        ("WITH p AS (SELECT * FROM people) SELECT id, nick FROM (SELECT * FROM p) q", ROOM),
        ("UPDATE people SET nick = 'x' WHERE id = 1 RETURNING id, nick", ROOM),
        (
            "SELECT given, given AS again FROM people LIMIT 1",
            [("given", "public.people", False), ("again", "public.people", False)],
        ),
        (
            'SELECT a, a + 1 AS b FROM "Odd one"."T"',
            [("a", '"Odd one"."T"', True), ("b", None, None)],
        ),
        ("SELECT name FROM seen LIMIT 1", [("name", "public.seen", None)]),
        ("SELECT ctid FROM people LIMIT 1", [("ctid", "public.people", False)]),
        ("SELECT 1 AS a", [("a", None, None)]),
        ("EXPLAIN SELECT id FROM people", [("QUERY PLAN", None, None)]),
    ],
)
async def test_columns_report_source_tables(
    tables: Desk, statement: str, expected: list[tuple[str, str | None, bool | None]]
) -> None:
    run = await tables.run(statement)
    assert (run.state, run.error) == (RunState.SUCCEEDED, None)
    assert sources_of(run) == expected


async def test_columns_follow_table_changes(tables: Desk) -> None:
    select = "SELECT nick FROM people"
    assert sources_of(await tables.run(select)) == [("nick", "public.people", True)]
    await tables.run("UPDATE people SET nick = ''")
    await tables.run("ALTER TABLE people ALTER nick SET NOT NULL")
    assert sources_of(await tables.run(select)) == [("nick", "public.people", False)]
    await tables.run("ALTER TABLE people RENAME TO persons")
    try:
        assert sources_of(await tables.run("SELECT nick FROM persons")) == [
            ("nick", "public.persons", False)
        ]
    finally:
        await tables.run("ALTER TABLE persons RENAME TO people")


@pytest.mark.parametrize("read_only", [False, True])
async def test_columns_of_truncated_result(tables: Desk, *, read_only: bool) -> None:
    statement = "SELECT p.id, given FROM people p, generate_series(1, 100000)"
    run = await tables.run(statement, max_rows=3, read_only=read_only)
    assert (run.state, run.row_count, run.error) == (RunState.SUCCEEDED, 3, None)
    assert sources_of(run) == [("id", "public.people", False), ("given", "public.people", False)]
    assert [one.type for one in run.parsed_columns or ()] == ["int4", "text"]
    assert run.connection_usable


async def test_columns_ignore_search_path_of_statement(tables: Desk) -> None:
    for statement in (
        'CREATE OR REPLACE VIEW "Odd one".pg_class AS SELECT 1 AS oid',
        'CREATE OR REPLACE VIEW "Odd one".pg_type AS SELECT 1 AS oid',
    ):
        assert (await tables.run(statement)).error is None
    run = await tables.run(
        """SELECT id, set_config('search_path', '"Odd one", pg_catalog', false),
           set_config('statement_timeout', '1', false) FROM public.people WHERE id = 1"""
    )
    assert (run.state, sources_of(run)[0]) == (RunState.SUCCEEDED, ("id", "public.people", False))


async def test_columns_survive_locked_catalogue(tables: Desk) -> None:
    """Another session locks the catalogue; the run reports what libpq knows.

    The lock is taken after the statement was planned: planning may read the catalogue too.
    """
    async with tables.target._as_superuser() as other:
        await other.execute("SELECT pg_advisory_lock(1)")
        run = await tables.start("SELECT id, pg_advisory_xact_lock_shared(1) FROM people LIMIT 1")
        await _until_waiting(tables, await tables.until_backend(run))
        await other.execute("BEGIN; LOCK pg_attribute IN ACCESS EXCLUSIVE MODE")
        await other.execute("SELECT pg_advisory_unlock(1)")
        run = await tables.end_of(run)
        await other.execute("ROLLBACK")
    assert (run.state, run.error, sources_of(run)[0]) == (
        RunState.SUCCEEDED,
        None,
        ("id", None, None),
    )


async def _until_waiting(desk: Desk, pid: int) -> None:
    waits = _WAITS.format(pid)
    async with patience():
        while not await desk.target.administer(waits):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
