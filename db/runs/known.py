"""A run by its id alone, for links that speak for whoever holds them."""

from uuid import UUID

from sqlalchemy import bindparam, select

from db.engine import Session
from db.runs.repository import Runs
from db.runs.rows import RunRow
from db.statements import compile_statement

_KNOWN = compile_statement(select(*Runs.columns()).where(Runs.table().c.id == bindparam("id")))


async def known_run(session: Session, run_id: UUID) -> RunRow | None:
    found = await session.row(_KNOWN, id=run_id)
    return None if found is None else RunRow(*found)
