"""Statements on the rows of all owners that every repository may need."""

from abc import ABC, abstractmethod
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Interval,
    Table,
    bindparam,
    delete,
    func,
    literal_column,
    select,
)
from sqlalchemy.sql import ClauseElement

from db.postgres.statements import unscoped_change, unscoped_statement


class OwnerLookup(ABC):
    """Finds the owner of a row, to tell a missing row from another user's."""

    @classmethod
    @abstractmethod
    def table(cls) -> Table: ...

    @unscoped_statement
    def _owner_of(cls) -> ClauseElement:
        table = cls.table()
        return select(table.c.owner_id).where(table.c.id == bindparam("id"))


class ExpiredRows(ABC):
    """Deletes expired rows of all owners, for a sweep."""

    @classmethod
    @abstractmethod
    def table(cls) -> Table: ...

    @unscoped_change
    def expired(cls) -> ClauseElement:
        """Deletes a batch of rows that are older than `kept`."""
        table = cls.table()
        kept = bindparam("kept", type_=Interval())
        return delete_batch(table, table.c.created_at < func.now() - kept)


def delete_batch(
    table: Table, condition: ColumnElement[bool], key: ColumnElement[Any] | None = None
) -> ClauseElement:
    """Deletes up to 1,000 rows, and none that are locked. Returns something for each.

    `key` is a column that is unique; without one, the place of a row is its key.
    """
    place: ColumnElement[Any] = literal_column("ctid") if key is None else key
    some = select(place).select_from(table).where(condition).limit(1_000)
    batch = some.with_for_update(skip_locked=True)
    return delete(table).where(place.in_(batch)).returning(literal_column("1"))
