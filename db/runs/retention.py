"""How long runs are kept: until their time has come, or newer ones need the room."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from db.kit.base import OwnerId
from db.postgres.engine import Session
from db.postgres.statements import compile_statement

_CROWD_OUT = compile_statement(
    text("""UPDATE query_runs SET expires_at = now()
        FROM (
            SELECT id, sum(result_bytes) OVER newer AS bytes, row_number() OVER newer AS runs
            FROM query_runs WHERE finished_at IS NOT NULL
            WINDOW newer AS (PARTITION BY owner_id ORDER BY created_at DESC, id DESC)
        ) AS kept
        WHERE kept.id = query_runs.id AND (kept.bytes > :most_bytes OR kept.runs > :most_runs)
          AND query_runs.expires_at > now()
        RETURNING query_runs.id""")
)
_EXPIRED = compile_statement(
    text("""SELECT owner_id, id FROM query_runs
        WHERE expires_at <= now() AND finished_at IS NOT NULL ORDER BY expires_at LIMIT 100""")
)
_PARTIAL = compile_statement(
    text("""SELECT DISTINCT page.owner_id, page.run_id
        FROM query_run_pages AS page JOIN query_runs AS run ON run.id = page.run_id
        WHERE run.row_count = 0 AND run.finished_at IS NOT NULL LIMIT 100""")
)


async def crowd_out(session: Session, *, most_bytes: int, most_runs: int) -> int:
    """The oldest of an owner's runs expire when all together are too much."""
    return len(await session.rows(_CROWD_OUT, most_bytes=most_bytes, most_runs=most_runs))


async def expired(session: Session) -> Sequence[tuple[OwnerId, UUID]]:
    """A batch of everybody's."""
    found: Sequence[Any] = await session.rows(_EXPIRED)
    return [tuple(row) for row in found]


async def partial(session: Session) -> Sequence[tuple[OwnerId, UUID]]:
    """A batch of everybody's runs that ended without rows and have pages: a store was away."""
    found: Sequence[Any] = await session.rows(_PARTIAL)
    return [tuple(row) for row in found]
