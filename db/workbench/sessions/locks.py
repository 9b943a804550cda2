"""The locks that sessions hold or wait for, and who waits for them, read by a side connection."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from db.database_sessions import DatabaseSessionRow
from db.errors import Unavailable
from db.kit.base import OwnerId
from db.workbench.connections.workbench import Workbench
from db.workbench.drivers import load_drivers
from db.workbench.live.values import MAX_STATEMENT_CHARS, OtherSession

if TYPE_CHECKING:  # psycopg is imported with the first session, not at the start
    from db.workbench.connections.libpq import Connection

READ_S = 3.0
MAX_LOCKS = 1_000
MAX_WAITERS = 20

# `waitstart` exists since PostgreSQL 14. A row that two transactions change is a lock of the
# transaction that changed it first.
_LOCKS = """
SET search_path = pg_catalog; SET statement_timeout = 2500;
WITH waiting AS MATERIALIZED (
    SELECT w.*, to_jsonb(w) ->> 'waitstart' AS since FROM pg_locks AS w WHERE NOT w.granted
)
SELECT json_build_object(
    'pid', l.pid, 'mode', l.mode, 'type', l.locktype, 'granted', l.granted,
    'relation', CASE WHEN c.oid IS NOT NULL THEN format('%I.%I', n.nspname, c.relname) END,
    'since', to_jsonb(l) ->> 'waitstart',
    'waiters', coalesce((
        SELECT json_agg(json_build_object(
            'pid', s.pid, 'username', s.usename, 'application_name', s.application_name,
            'state', s.state, 'statement', left(s.query, {chars}),
            'since', coalesce(w.since::timestamptz, s.state_change)))
        FROM waiting AS w JOIN pg_stat_activity AS s ON s.pid = w.pid
        WHERE l.granted AND w.pid <> l.pid AND l.pid = ANY (pg_blocking_pids(w.pid))
          AND (w.locktype, w.database, w.relation, w.page, w.tuple, w.virtualxid, w.transactionid,
               w.classid, w.objid, w.objsubid) IS NOT DISTINCT FROM
              (l.locktype, l.database, l.relation, l.page, l.tuple, l.virtualxid, l.transactionid,
               l.classid, l.objid, l.objsubid)), '[]'::json)
)::text
FROM pg_locks AS l
LEFT JOIN pg_class AS c ON c.oid = l.relation AND l.database IN (
    0, (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE l.pid = ANY ('{{{pids}}}'::int[])
ORDER BY l.pid, l.granted, l.locktype, n.nspname, c.relname, l.mode LIMIT {most}
"""


class Waiter(OtherSession, frozen=True):
    pid: int


class HeldLock(msgspec.Struct, frozen=True):
    """A lock of a session. `since` is known for a lock that it waits for."""

    pid: int
    mode: str
    type: str
    granted: bool
    relation: str | None
    since: datetime | None
    waiters: list[Waiter]


class LockReader:
    def __init__(self, workbench: Workbench, owner: OwnerId) -> None:
        self._workbench = workbench
        self._owner = owner

    async def read(
        self, connection_id: UUID, sessions: Sequence[DatabaseSessionRow]
    ) -> Mapping[UUID, list[HeldLock]]:
        """The locks of sessions on one connection, by session.

        Raises:
            Unavailable: The database did not answer.
        """
        await load_drivers()
        by_pid = {row.backend_pid or 0: row.id for row in sessions}
        found: dict[UUID, list[HeldLock]] = {row.id: [] for row in sessions}
        async with self._workbench.side_connection(self._owner, connection_id) as connection:
            for lock in await _query(connection, list(by_pid)):
                if (session_id := by_pid.get(lock.pid)) is not None:
                    found[session_id].append(lock)
        return found


async def _query(connection: "Connection", pids: Sequence[int]) -> list[HeldLock]:
    import psycopg

    from db.workbench.connections.libpq import abort_after
    from db.workbench.execution.reading.protocol import query_catalogue

    query = _LOCKS.format(pids=",".join(map(str, pids)), chars=MAX_STATEMENT_CHARS, most=MAX_LOCKS)
    try:
        with abort_after(connection, READ_S):
            rows = await query_catalogue(connection, query, tuple[str], max_rows=MAX_LOCKS)
        return [_shown(msgspec.json.decode(text, type=HeldLock)) for (text,) in rows]
    except (psycopg.Error, msgspec.MsgspecError, RecursionError):
        # Not every server is a real PostgreSQL.
        raise Unavailable(
            "The locks could not be read: the database did not answer.",
            hint="Try again in a moment.",
        ) from None


def _shown(lock: HeldLock) -> HeldLock:
    waiters = [waiter.shown() for waiter in lock.waiters[:MAX_WAITERS]]
    return msgspec.structs.replace(lock, waiters=waiters)
