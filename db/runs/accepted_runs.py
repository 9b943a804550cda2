"""Parts of the statements that accept a new run: db.runs.run_queue and db.runs.session_queue."""

from typing import Any

from sqlalchemy import Subquery, bindparam, func, select

from db.kit.base import text_literals
from db.runs.rows import ACTIVE, NewRun
from db.runs.tables import QueryRun


def count_active(*, in_sessions: bool) -> Subquery:
    """The owner's queued and running runs, as `runs`: either those in sessions or all others."""
    other = QueryRun.__table__.alias("other").c
    return (
        select(func.count().label("runs"))
        .where(
            other.owner_id == bindparam("owner_id"),
            other.state.in_(text_literals(ACTIVE)),
            other.session_id.is_not(None) if in_sessions else other.session_id.is_(None),
        )
        .subquery("active")
    )


def new_run_values() -> dict[str, Any]:
    """Parameters for the columns that the caller of `accept` gives."""
    columns = QueryRun.__table__.c
    names = ("id", "owner_id", *NewRun._fields, "process")
    return {name: bindparam(name, type_=columns[name].type) for name in names}
