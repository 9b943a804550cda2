"""Expiry of runs, by age and by the quota of their owner."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from db.kit.base import OwnerId
from db.postgres.sessions import ReadSession, Session
from db.postgres.statements import compile_change, compile_statement

_EXPIRE_OVER_QUOTA = compile_change(
    text("""UPDATE query_runs SET expires_at = now()
        FROM (
            SELECT id, sum(result_bytes) OVER newer AS bytes,
                sum(octet_length(statement) + octet_length(parameters) + octet_length(notices)
                    + coalesce(octet_length(columns), 0) + coalesce(octet_length(error), 0))
                    OVER newer AS texts,
                row_number() OVER newer AS runs
            FROM query_runs WHERE finished_at IS NOT NULL
            WINDOW newer AS (PARTITION BY owner_id ORDER BY created_at DESC, id DESC)
        ) AS kept
        WHERE kept.id = query_runs.id
          AND (kept.bytes > :max_bytes OR kept.texts > :max_text OR kept.runs > :max_runs)
          AND query_runs.expires_at > now()
        RETURNING query_runs.id""")
)
_EXPIRED = compile_statement(
    text("""SELECT owner_id, id FROM (
            SELECT owner_id, id FROM query_runs
            WHERE expires_at <= now() AND finished_at IS NOT NULL ORDER BY expires_at LIMIT 10000
        ) AS oldest
        ORDER BY random() LIMIT 100""")
)
_PARTIAL = compile_statement(
    text("""SELECT owner_id, run_id FROM (
            SELECT DISTINCT page.owner_id, page.run_id
            FROM query_run_pages AS page JOIN query_runs AS run ON run.id = page.run_id
            WHERE run.row_count = 0 AND run.finished_at IS NOT NULL LIMIT 10000
        ) AS partial
        ORDER BY random() LIMIT 100""")
)
_KEPT_BYTES = compile_statement(text("SELECT coalesce(sum(result_bytes), 0) FROM query_runs"))


async def kept_result_bytes(session: ReadSession) -> int:
    """The size of the results of all owners."""
    return int(await session.value(_KEPT_BYTES))


async def expire_over_quota(
    session: Session, *, max_bytes: int, max_text: int, max_runs: int
) -> int:
    """Expires the oldest runs of owners above a quota; returns their number."""
    limits = {"max_bytes": max_bytes, "max_text": max_text, "max_runs": max_runs}
    return len(await session.rows(_EXPIRE_OVER_QUOTA, **limits))


async def list_expired(session: ReadSession) -> Sequence[tuple[OwnerId, UUID]]:
    """A batch of expired runs of all owners, in random order (`remove_each`)."""
    found: Sequence[Any] = await session.rows(_EXPIRED)
    return [tuple(row) for row in found]


async def list_partial_results(session: ReadSession) -> Sequence[tuple[OwnerId, UUID]]:
    """A batch of runs, of all owners, that ended without rows but still have pages.

    Their pages could not be deleted when the run ended, because the store was unavailable. The
    order is random too.
    """
    found: Sequence[Any] = await session.rows(_PARTIAL)
    return [tuple(row) for row in found]
