"""Types and tables of extensions, whose operators are not in the search path."""

import random

import pytest

from tests.fixtures.changes import EXECUTE, Grid, delete, insert, update
from tests.fixtures.session_desk import open_session
from tests.fixtures.targets import CANARY, Target

LETTERS = "'\"\\$;-/*%{}()\n\r\t\x01\x7f ,aNULLä€😀\u202e\ufeff"


async def test_types_of_extensions_are_compared_by_their_operators_and_text(
    grid: Grid, target: Target
) -> None:
    await target.script(
        'CREATE SCHEMA IF NOT EXISTS "Ext\'s"; GRANT USAGE ON SCHEMA "Ext\'s" TO ada; '
        + "; ".join(
            f'CREATE EXTENSION IF NOT EXISTS {name} SCHEMA "Ext\'s"'
            for name in ("citext", "ltree", "cube")
        )
    )
    try:
        await grid.run("DROP TABLE IF EXISTS boxes")
        await grid.run(
            'CREATE TABLE boxes (id "Ext\'s".citext PRIMARY KEY, tree "Ext\'s".ltree, '
            'size "Ext\'s".cube, note "Ext\'s".citext)'
        )
        made = await grid.apply(
            insert(id="Abc", tree="top.a", size="(1, 2),(3, 4)", note="Straße"), table="boxes"
        )
        (row,) = made["rows"]
        found = await grid.apply(update({"id": "aBC"}, row, note="STRASSE"), table="boxes")
        assert found["rows"] == [row | {"note": "STRASSE"}]
        other = update({"id": "abc"}, {"note": "strasse"}, note="x")
        assert (await grid.change(other, table="boxes"))["conflicts"][0]["row"] == found["rows"][0]
        renamed = update({"id": "abc"}, {"note": "STRASSE"}, id="ABC")
        assert (await grid.change(renamed, table="boxes"))["conflicts"]
        await grid.apply(update({"id": "Abc"}, {}, id="ABC"), table="boxes")
        await grid.apply(delete({"id": "abc"}, {"tree": "top.a"}), table="boxes")
    finally:
        await target.script('DROP SCHEMA "Ext\'s" CASCADE; DROP TABLE IF EXISTS boxes')


async def test_text_that_its_collation_finds_equal_is_a_conflict(grid: Grid) -> None:
    values = {
        "connectionId": grid.connection,
        "statement": "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', "
        "deterministic = false)",
        "waitMs": 30_000,
    }
    made = (await grid.client.ask(EXECUTE, input=values))["executeQuery"]["run"]
    if made["error"] is not None:
        pytest.skip(made["error"]["message"])
    await grid.run(
        'CREATE TABLE words (id text COLLATE "blind" PRIMARY KEY, w text COLLATE "blind")'
    )
    await grid.apply(insert(id="Key", w="Word"), table="words")
    answer = await grid.change(update({"id": "KEY"}, {"w": "word"}, w="x"), table="words")
    assert answer["conflicts"] == [{"index": 0, "row": {"id": "Key", "w": "Word"}}]
    await grid.apply(update({"id": "KEY"}, {"w": "Word"}, w="x"), table="words")
    await grid.run("DROP TABLE words")
    await grid.run("DROP COLLATION blind")


async def test_foreign_tables_are_changed_by_any_columns_that_match_one_row(
    grid: Grid, target: Target
) -> None:
    await target.script(f"""
        CREATE EXTENSION postgres_fdw;
        CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw
          OPTIONS (host '127.0.0.1', port '{target.port}', dbname 'postgres');
        CREATE USER MAPPING FOR ada SERVER loop OPTIONS (user 'ada', password '{CANARY}');
        GRANT USAGE ON FOREIGN SERVER loop TO ada""")
    try:
        await grid.run(
            "CREATE FOREIGN TABLE far (id int, name text, price numeric) SERVER loop "
            "OPTIONS (table_name 'goods')"
        )
        row = {"id": 1, "name": "one", "price": "1.50"}
        made = await grid.apply(
            update({"id": 1}, row, price="1.5"), insert(id=4, price="0.00"), table="far"
        )
        assert [each["price"] for each in made["rows"]] == ["1.5", "0.00"]
        answer = await grid.change(update({"id": 1}, row, price="2"), table="far")
        assert answer["conflicts"] == [{"index": 0, "row": row | {"price": "1.5"}}]
        await grid.apply(delete({"id": 4}, {"price": "0.00"}), table="far")
        assert len(await grid.rows("SELECT id FROM goods")) == 3
    finally:
        await target.script("DROP EXTENSION postgres_fdw CASCADE")


async def test_any_text_is_a_value_and_nothing_else(grid: Grid) -> None:
    """Also where a backslash in an ordinary literal is an escape."""
    chosen = random.Random(52)  # noqa: S311 - the same texts in each run
    texts = ["".join(chosen.choices(LETTERS, k=chosen.randrange(12))) for _ in range(300)]
    desk = await open_session(grid.client, grid.connection)
    await desk.do("SET standard_conforming_strings = off")
    await grid.run("ALTER TABLE goods DROP CONSTRAINT goods_name_key")
    for where in (grid, grid.in_session(desk)):
        named = list(enumerate(texts, 10))
        rows = [{"id": at, "name": text, "price": None} for at, text in named]
        made = await where.apply(*(insert(**row) for row in rows))
        assert made["rows"] == rows
        moved = [row | {"name": text[::-1]} for row, text in zip(rows, texts, strict=True)]
        changes = [
            update({"id": at}, {"name": text, "price": None}, name=text[::-1]) for at, text in named
        ]
        assert (await where.apply(*changes))["rows"] == moved
        await where.apply(*(delete({"id": row["id"]}, row) for row in moved))
    await desk.close()
