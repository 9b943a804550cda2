"""What a downgrade deletes: the tables and columns that its migrations drop, with their rows."""

import io
import re
from typing import NamedTuple

from sqlalchemy import text

from db.postgres.schema import migrations
from db.postgres.sessions import ReadSession
from db.postgres.statements import compile_statement

COUNTED_ROWS = 1_000_000
"""Rows are counted up to this number."""

_DROPPED_TABLE = re.compile(r"^DROP TABLE (\w+);", re.MULTILINE)
_DROPPED_COLUMN = re.compile(r"^ALTER TABLE (\w+) DROP COLUMN (\w+);", re.MULTILINE)


class Loss(NamedTuple):
    """A table or column that holds data, and its number of rows or values.

    `rows` is COUNTED_ROWS + 1 if there are more.
    """

    table: str
    column: str | None
    rows: int

    def __str__(self) -> str:
        name = self.table if self.column is None else f"{self.table}.{self.column}"
        count = f"more than {COUNTED_ROWS:,}" if self.rows > COUNTED_ROWS else f"{self.rows:,}"
        return f"  {name:40}{count:>22} {'rows' if self.column is None else 'values'}"


class DroppedNames(NamedTuple):
    tables: list[str]
    columns: list[tuple[str, str]]
    """Table and column, of tables that stay."""


def dropped_by(present: str, revision: str) -> DroppedNames:
    """Reads the statements of the downgrade, which alembic writes without a connection."""
    buffer = io.StringIO()
    migrations.write_downgrade(present, revision, buffer)
    written = buffer.getvalue()
    tables = _DROPPED_TABLE.findall(written)
    columns = _DROPPED_COLUMN.findall(written)
    return DroppedNames(tables, [found for found in columns if found[0] not in tables])


async def find_losses(session: ReadSession, present: str, revision: str) -> list[Loss]:
    """Tables first, then columns of tables that stay; those without data are left out."""
    dropped = dropped_by(present, revision)
    losses = [Loss(table, None, await _count(session, table)) for table in dropped.tables]
    for table, column in dropped.columns:
        where = f"WHERE {column} IS NOT NULL"
        losses.append(Loss(table, column, await _count(session, table, where)))
    return [loss for loss in losses if loss.rows]


async def _count(session: ReadSession, table: str, where: str = "") -> int:
    some = f"SELECT FROM {table} {where} LIMIT {COUNTED_ROWS + 1}"
    counted = text(f"SELECT count(*) FROM ({some}) AS some_rows")  # noqa: S608 - names of our migrations
    return int(await session.value(compile_statement(counted)))
