"""Runs by their ids alone: for links that speak for whoever holds them, and for the sweep."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, any_, bindparam, select

from db.postgres.engine import Session
from db.postgres.statements import compile_statement
from db.runs.repository import Runs
from db.runs.rows import RunRow

_KNOWN = compile_statement(select(*Runs.columns()).where(Runs.table().c.id == bindparam("id")))
_KNOWN_IDS = compile_statement(
    select(Runs.table().c.id).where(Runs.table().c.id == any_(bindparam("ids", type_=ARRAY(Uuid))))
)


async def known_run(session: Session, run_id: UUID) -> RunRow | None:
    found = await session.row(_KNOWN, id=run_id)
    return None if found is None else RunRow(*found)


async def known_runs(session: Session, run_ids: Iterable[UUID]) -> set[UUID]:
    """Those of them that there are, whoever owns them."""
    return {row[0] for row in await session.rows(_KNOWN_IDS, ids=list(run_ids))}
