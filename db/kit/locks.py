"""Advisory locks, held until the end of the transaction."""

from typing import Any

from sqlalchemy import ColumnElement, Uuid, bindparam, func


def owner_lock(subject: str) -> ColumnElement[Any]:
    """Takes the lock under which the `subject` of one owner is changed by one transaction a time.

    A statement sees what was committed before it began, so what the lock protects is read by a
    later one.
    """
    name = func.concat(f"{subject} of ", bindparam("owner_id", type_=Uuid()))
    return func.pg_advisory_xact_lock(func.hashtextextended(name, 0))


def run_queue_lock() -> ColumnElement[Any]:
    """The lock under which the runs of an owner are accepted and claimed."""
    return owner_lock("runs")
