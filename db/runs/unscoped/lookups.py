"""Lookups without an owner: for signed download links and the deletion of orphaned objects."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, any_, bindparam, select, text

from db.postgres.sessions import ReadSession
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
_WITH_QUEUED = compile_statement(
    text("""SELECT DISTINCT session_id FROM query_runs
        WHERE state = 'QUEUED' AND process = :process AND session_id IS NOT NULL""")
)


async def find_any_run(session: ReadSession, run_id: UUID) -> RunRow | None:
    found = await session.row(_BY_ID, id=run_id)
    return None if found is None else RunRow(*found)


async def existing_run_ids(session: ReadSession, run_ids: Iterable[UUID]) -> set[UUID]:
    """The IDs that exist, of any owner."""
    return {row[0] for row in await session.rows(_EXISTING_IDS, ids=list(run_ids))}


async def sessions_with_queued_runs(session: ReadSession, *, process: int) -> set[UUID]:
    """The sessions of a process in which a run is queued."""
    return {row[0] for row in await session.rows(_WITH_QUEUED, process=process)}
