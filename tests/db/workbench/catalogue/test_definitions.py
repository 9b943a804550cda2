"""Definitions recreate objects: pg_dump of the embedded PostgreSQL is the judge."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from difflib import unified_diff
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from db.workbench.catalogue.definitions import DefinedKind, definitions, reading
from tests.fixtures.cluster import Cluster
from tests.fixtures.connected import connected
from tests.fixtures.definitions import SampleDatabase, sample_database, sample_tablespace
from tests.fixtures.targets import POSTGRES, Target

HERE = Path(__file__).parent
SAMPLE = (HERE / "sample.sql").read_text()
SAMPLE_OF_15 = (HERE / "sample_of_15.sql").read_text()
SAMPLE_OF_18 = (HERE / "sample_of_18.sql").read_text()
ICU = """CREATE COLLATION app."Äquivalent"
(provider = icu, locale = 'de-u-co-phonebk', deterministic = false)"""
# A role without rights, whose settings and search path change what PostgreSQL prints and calls.
SHADOWS = """
CREATE FUNCTION app.format(text, name) RETURNS text LANGUAGE plpgsql
  AS $$ BEGIN RAISE 'user''s function'; END $$;
CREATE FUNCTION app.quote_ident(name) RETURNS text LANGUAGE plpgsql
  AS $$ BEGIN RAISE 'user''s function'; END $$;
CREATE FUNCTION app.equal(oid, oid) RETURNS bool LANGUAGE plpgsql
  AS $$ BEGIN RAISE 'user''s function'; END $$;
CREATE OPERATOR app.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = app.equal);
CREATE TABLE app.pg_class (oid oid);
CREATE TEMPORARY TABLE pg_namespace (oid oid);
SET search_path = app, "select", pg_temp, pg_catalog;
SET datestyle = 'SQL, DMY'; SET intervalstyle = 'sql_standard'; SET extra_float_digits = -3;
SET bytea_output = 'escape'; SET quote_all_identifiers = on;
GRANT USAGE ON SCHEMA app TO pg_monitor;
SET ROLE pg_monitor;
"""
SERVER = 'CREATE SERVER "Files here" FOREIGN DATA WRAPPER file_fdw'
SHOP = files("db.demo").joinpath("shop.sql").read_text("utf-8")


@pytest.fixture(params=["embedded", "target"])
def server_url(request: pytest.FixtureRequest) -> str:
    """The address of a superuser: on the embedded server, and on an older version."""
    if request.param == "embedded":
        cluster: Cluster = request.getfixturevalue("cluster")
        return cluster.url
    target: Target = request.getfixturevalue("target")
    return f"postgresql://postgres:{quote(POSTGRES)}@127.0.0.1:{target.port}/postgres"


@pytest.fixture
async def sample(server_url: str) -> AsyncIterator[SampleDatabase]:
    async with contextlib.AsyncExitStack() as stack:
        tablespace = ""
        with contextlib.suppress(asyncpg.UndefinedObjectError):  # PostgreSQL 14
            tablespace = await stack.enter_async_context(sample_tablespace(server_url))
        database = await stack.enter_async_context(sample_database(server_url, SAMPLE))
        with contextlib.suppress(asyncpg.FeatureNotSupportedError):  # built without ICU
            await database.script(ICU)
        version = database.connection.get_server_version()
        if version >= (15,):
            await database.script(SAMPLE_OF_15.replace('"Fast place"', tablespace))
        if version >= (18,):
            await database.script(SAMPLE_OF_18)
        yield database


async def test_definitions_recreate_a_database_as_pg_dump_sees_it(
    sample: SampleDatabase, server_url: str
) -> None:
    wanted = await sample.whole()
    async with sample_database(server_url) as copy:
        await copy.replay([*wanted, SERVER])
        ours, original = await copy.dump(), await sample.dump()
    assert ours == original, _differences(original, ours)


async def test_definition_recreates_one_dropped_object(sample: SampleDatabase) -> None:
    failures = []
    for kind in DefinedKind:
        known = await sample.oids(kind)
        texts = await sample.definitions(kind, await sample.untied(kind))
        assert texts
        for oid, text in texts.items():
            transaction = sample.connection.transaction()
            await transaction.start()
            try:
                await sample.drop(kind, oid)
                await sample.connection.execute(text)
                new = set(await sample.oids(kind)) - set(known)
                again = await sample.definitions(kind, list(new))
            except asyncpg.PostgresError as error:
                failures.append(f"{error}: {text}")
            else:
                if text not in again.values():
                    failures.append(f"{again} {text}")
            await transaction.rollback()
    assert not failures, "\n\n".join(failures)


async def test_column_that_exists_only_with_another_object_has_no_definition(
    sample: SampleDatabase,
) -> None:
    found = await sample.connection.fetch(
        """SELECT relkind::text, (attrelid::bigint << 16) + attnum
        FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid
        WHERE c.oid >= 16384 AND attnum > 0
          AND (relkind IN ('v', 'm') OR attinhcount > 0 OR reloftype <> 0)"""
    )
    assert {"v", "m", "r"} <= {kind for kind, _ in found}
    assert await sample.definitions(DefinedKind.COLUMN, [each for _, each in found]) == {}


async def test_columns_of_a_wide_table_read_each_constraint_once(cluster: Cluster) -> None:
    """Since PostgreSQL 18 each NOT NULL is one, and no index has its column."""
    names = ", ".join(f"c{number} int NOT NULL DEFAULT 1" for number in range(300))
    async with sample_database(cluster.url, f"CREATE TABLE wide ({names})") as database:
        columns = await database.oids(DefinedKind.COLUMN)
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {reading._statement(DefinedKind.COLUMN)}"
        async with database.connection.transaction():
            await database.fetch(reading._SETTINGS, [])
            [[found]] = await database.fetch(explain, [columns, reading.MAX_DEFINITION_BYTES])
        visited = _rows_visited(json.loads(found)[0]["Plan"], "pg_constraint")
        assert 300 <= visited < 1_500  # with those of PostgreSQL itself, and 90,000 for each column


def _rows_visited(node: Mapping[str, Any], table: str) -> int:
    rows = 0
    if node.get("Relation Name") == table:
        each = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        rows = round(each * node["Actual Loops"])
    return rows + sum(_rows_visited(child, table) for child in node.get("Plans", ()))


async def test_definitions_depend_on_no_setting_and_call_no_function_of_users(
    sample: SampleDatabase,
) -> None:
    before = {kind: await sample.definitions(kind, await sample.oids(kind)) for kind in DefinedKind}
    await sample.connection.execute(SHADOWS)
    with pytest.raises(asyncpg.RaiseError, match="user's function"):
        await sample.connection.fetch("SELECT format('%I'::text, 'x'::name)")
    after = {kind: await sample.definitions(kind, list(before[kind])) for kind in DefinedKind}
    assert after == before


async def test_objects_dropped_after_the_snapshot_have_no_definition(
    sample: SampleDatabase,
) -> None:
    oids = await sample.oids(DefinedKind.ROUTINE)
    async with (
        connected(sample.url) as other,
        sample.connection.transaction(isolation="repeatable_read"),
    ):
        await sample.connection.execute("SELECT 1 FROM pg_proc")
        await other.execute("DROP FUNCTION app.atomic")
        found = await definitions(sample.fetch, DefinedKind.ROUTINE, oids)
    assert len(found) == len(oids) - 1
    assert not any("None" in text for text in found.values())


async def test_definitions_of_many_objects_take_two_statements(sample: SampleDatabase) -> None:
    statements = []

    async def fetch(sql: str, values: Sequence[Any]) -> Sequence[Any]:
        statements.append(sql)
        return await sample.fetch(sql, values)

    async with sample.connection.transaction():
        oids = await sample.oids(DefinedKind.RELATION)
        assert len(await definitions(fetch, DefinedKind.RELATION, [*oids, 1, 2**32 - 1])) > 40
        assert len(statements) == 2


async def test_definitions_recreate_the_demo_database(server_url: str) -> None:
    async with sample_database(server_url, SHOP) as shop, sample_database(server_url) as copy:
        await copy.replay(await shop.whole())
        ours, original = await copy.dump(), await shop.dump()
    assert ours == original, _differences(original, ours)


def _differences(original: list[str], ours: list[str]) -> str:
    before, after = ("\n".join(blocks).splitlines() for blocks in (original, ours))
    return "\n".join(unified_diff(before, after, "original", "copy", n=1, lineterm=""))
