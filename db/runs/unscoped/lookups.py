"""Lookups without an owner: for signed download links and the deletion of orphaned objects."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, any_, bindparam, select

from db.postgres.engine import ReadSession
from db.postgres.statements import compile_statement
from db.runs.repository import Runs
from db.runs.rows import RunRow

_BY_ID = compile_statement(
    select(*Runs.columns()).where(Runs.table().c.id == bindparam("id")), unscoped=True
)
_EXISTING_IDS = compile_statement(
    select(Runs.table().c.id).where(Runs.table().c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))),
    unscoped=True,
)


async def find_any_run(session: ReadSession, run_id: UUID) -> RunRow | None:
    found = await session.row(_BY_ID, id=run_id)
    return None if found is None else RunRow(*found)


async def existing_run_ids(session: ReadSession, run_ids: Iterable[UUID]) -> set[UUID]:
    """The IDs that exist, of any owner."""
    return {row[0] for row in await session.rows(_EXISTING_IDS, ids=list(run_ids))}
