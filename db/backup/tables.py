"""The tables according to the catalog, and their rows by COPY."""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import IO, NamedTuple

import asyncpg

from db.backup.archive import TableManifest
from db.postgres.route.one_connection import open_connection

CHUNK_BYTES = 65_536
COPY_TIMEOUT_S = 86_400.0

# Every version of PostgreSQL reads the text of COPY; with these settings it has the same meaning.
# The transaction stays open, and idle, while the bytes of files are copied.
_SETTINGS = """
SET LOCAL datestyle TO 'ISO';
SET LOCAL intervalstyle TO 'postgres';
SET LOCAL timezone TO 'UTC';
SET LOCAL extra_float_digits TO 1;
SET LOCAL bytea_output TO 'hex';
SET LOCAL idle_in_transaction_session_timeout TO 0
"""

_TABLES = """
SELECT c.relname,
       array(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0
               AND NOT a.attisdropped AND a.attgenerated = ''
             ORDER BY a.attnum) AS columns,
       array(SELECT quote_ident(a.attname) ||
                    CASE WHEN a.attcollation = 0 THEN '' ELSE ' COLLATE "C"' END
             FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
             WHERE i.indrelid = c.oid AND i.indisprimary
             ORDER BY k.place) AS key,
       array(SELECT p.relname::text
             FROM pg_constraint f JOIN pg_class p ON p.oid = f.confrelid
             WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.confrelid <> c.oid) AS parents
FROM pg_class c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
  AND c.relname NOT IN ('alembic_version', 'database_checks', 'audit_stream', 'open_connections',
                        'installation', 'replica_processes', 'unended_backends')
ORDER BY c.relname
"""


class Table(NamedTuple):
    """A table with its columns, except generated ones, and the columns of its primary key."""

    name: str
    columns: list[str]
    key: list[str]
    parents: list[str]


async def revision_of(connection: asyncpg.Connection) -> str | None:
    """The revision of the database, or None if it was never migrated."""
    if await connection.fetchval("SELECT to_regclass('alembic_version') IS NULL"):
        return None
    found: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    return found


async def tables_of(connection: asyncpg.Connection) -> list[Table]:
    """All tables, each after the tables that its foreign keys reference."""
    waiting = [Table(*found) for found in await connection.fetch(_TABLES)]
    ordered: list[Table] = []
    while waiting:
        names = {table.name for table in ordered}
        ready = [table for table in waiting if names.issuperset(table.parents)]
        if not ready:
            raise RuntimeError("the foreign keys form a cycle, so the tables have no loading order")
        ordered += ready
        waiting = [table for table in waiting if table not in ready]
    return ordered


def open_for_copy(
    direct_url: str, application_name: str
) -> AbstractAsyncContextManager[asyncpg.Connection]:
    """A connection for statements that take up to COPY_TIMEOUT_S."""
    return open_connection(
        direct_url,
        application_name=application_name,
        statement_timeout_ms=int(COPY_TIMEOUT_S * 1000),
    )


async def apply_copy_settings(connection: asyncpg.Connection) -> None:
    await connection.execute(_SETTINGS)


async def copy_out(
    connection: asyncpg.Connection, table: Table, write: Callable[[bytes], object]
) -> TableManifest:
    """Write the rows of a table and return their count and checksum."""
    checksum = hashlib.sha256()
    rows = 0

    async def receive(data: bytes) -> None:
        nonlocal rows
        checksum.update(data)
        rows += data.count(b"\n")  # line breaks in values are escaped
        write(data)

    columns = ", ".join(map(quoted, table.columns))
    await connection.copy_from_query(
        f"SELECT {columns} FROM {quoted(table.name)} ORDER BY {', '.join(table.key)}",  # noqa: S608 - quoted names of the catalog
        output=receive,
        timeout=COPY_TIMEOUT_S,
    )
    return TableManifest(table.name, table.columns, rows, checksum.hexdigest())


async def copy_in(connection: asyncpg.Connection, table: Table, source: IO[bytes]) -> None:
    await connection.copy_to_table(
        table.name, source=_chunks(source), columns=table.columns, timeout=COPY_TIMEOUT_S
    )


async def _chunks(source: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := source.read(CHUNK_BYTES):
        yield chunk


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
