"""The keys of a result's tables, and whether its rows can be changed by them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from db.runs import Column, EditableSource, RunRow, RunState
from db.workbench.execution.reading import protocol
from tests.fixtures.runs import Desk

TABLES = (
    "DROP SCHEMA IF EXISTS keyed CASCADE",
    "CREATE SCHEMA keyed",
    "CREATE TABLE keyed.one (id int PRIMARY KEY, name text, code text NOT NULL UNIQUE)",
    "CREATE TABLE keyed.two (b int, a int, note text, PRIMARY KEY (a, b) INCLUDE (note))",
    "CREATE TABLE keyed.loose (id int UNIQUE, word text)",
    'CREATE TABLE keyed."Odd one" ("Nr" int NOT NULL, x int, UNIQUE ("Nr"))',
    "CREATE UNIQUE INDEX ON keyed.loose (lower(word))",
    "CREATE TABLE keyed.partial (id int NOT NULL)",
    "CREATE UNIQUE INDEX ON keyed.partial (id) WHERE id > 0",
    "CREATE TABLE keyed.parent (id int PRIMARY KEY)",
    "CREATE TABLE keyed.child () INHERITS (keyed.parent)",
    "CREATE TABLE keyed.parts (id int PRIMARY KEY) PARTITION BY RANGE (id)",
    "CREATE VIEW keyed.seen AS SELECT id, name FROM keyed.one",
    "CREATE MATERIALIZED VIEW keyed.stored AS SELECT id FROM keyed.one",
    "CREATE UNIQUE INDEX ON keyed.stored (id)",
    "INSERT INTO keyed.one SELECT i, 'n', i FROM generate_series(1, 3) AS i",
)


@pytest.fixture
async def tables(desk: Desk) -> AsyncIterator[Desk]:
    for statement in TABLES:
        assert (await desk.run(statement)).error is None
    yield desk
    assert (await desk.run(TABLES[0])).error is None  # the next file may share the target


async def succeeded(desk: Desk, statement: str) -> RunRow:
    run = await desk.run(statement)
    assert (run.state, run.error) == (RunState.SUCCEEDED, None)
    return run


def keys_of(run: RunRow) -> list[str]:
    return [column.name for column in run.parsed_columns or () if column.is_key]


EDITABLE = [
    ("SELECT * FROM keyed.one", "one", ["id"]),
    ("SELECT code, name FROM keyed.one", "one", ["code"]),
    ("SELECT id, code FROM keyed.one", "one", ["id"]),
    ("SELECT name, 1 AS more, id AS number FROM keyed.one", "one", ["id"]),
    ("SELECT a, note, b FROM keyed.two", "two", ["a", "b"]),
    ('SELECT * FROM keyed."Odd one"', "Odd one", ["Nr"]),
    ("SELECT id FROM keyed.parts", "parts", ["id"]),
    ("SELECT id FROM keyed.child UNION ALL SELECT 1", None, []),
    ("UPDATE keyed.one SET name = 'm' WHERE id = 1 RETURNING id, name", "one", ["id"]),
    ("SELECT id, l.n FROM keyed.one, (SELECT 'n' AS n) AS l", "one", ["id"]),
    ("SELECT name FROM keyed.one", None, []),
    ("SELECT a FROM keyed.two", None, []),
    ("SELECT * FROM keyed.loose", None, []),
    ("SELECT * FROM keyed.partial", None, []),
    ("SELECT * FROM keyed.parent", None, []),
    ("SELECT * FROM keyed.seen", None, []),
    ("SELECT * FROM keyed.stored", None, []),
    ("SELECT o.id, t.note FROM keyed.one o, keyed.two t", None, []),
    ("SELECT a.id, b.id AS other FROM keyed.one a, keyed.one b", None, []),
    ("SELECT a.id, a.name, b.name FROM keyed.one a, keyed.one b", None, []),
    ("SELECT oid, relname FROM pg_class LIMIT 1", None, []),
    ("SELECT 1 AS id", None, []),
    ("CREATE TABLE keyed.made (id int)", None, []),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "table", "key"), EDITABLE)
async def test_run_is_editable_if_it_has_the_key_of_its_only_table(
    tables: Desk, statement: str, table: str | None, key: list[str]
) -> None:
    expected = None if table is None else EditableSource("keyed", table, key)
    assert (await succeeded(tables, statement)).editable == expected


@pytest.mark.parametrize(
    ("statement", "keys"),
    [
        ("SELECT a, note FROM keyed.two", ["a"]),
        ("SELECT id, name AS id2 FROM keyed.one", ["id"]),
        ("SELECT o.id, t.a, t.b FROM keyed.one o, keyed.two t", ["id", "a", "b"]),
        ("SELECT name FROM keyed.one", []),
    ],
)
async def test_columns_of_keys_are_marked(tables: Desk, statement: str, keys: list[str]) -> None:
    assert keys_of(await succeeded(tables, statement)) == keys


async def test_columns_name_their_source_without_quotes(tables: Desk) -> None:
    run = await succeeded(tables, 'SELECT "Nr" AS n, x + 1 AS y FROM keyed."Odd one"')
    assert run.parsed_columns == [
        Column(
            name="n",
            type="int4",
            type_oid=23,
            table='keyed."Odd one"',
            nullable=False,
            schema_name="keyed",
            table_name="Odd one",
            column_name="Nr",
            key_size=1,
        ),
        Column(name="y", type="int4", type_oid=23),
    ]


async def test_sources_are_read_with_one_query(
    tables: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries: list[str] = []
    query_catalogue = protocol.query_catalogue

    async def counted(connection: Any, query: str, *rest: Any, **more: Any) -> list[Any]:
        queries.append(query)
        return await query_catalogue(connection, query, *rest, **more)

    monkeypatch.setattr(protocol, "query_catalogue", counted)
    await succeeded(tables, "SELECT * FROM keyed.one")
    assert len(queries) == 1
    await succeeded(tables, "SELECT 1")
    assert len(queries) == 1
