"""Repository of the runs that wait for their database session: one at a time, in order."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Integer, Interval, Text, bindparam, case, func, insert, select
from sqlalchemy.sql import ClauseElement

from db.errors import RateLimited
from db.kit.base import text_literal, text_literals
from db.kit.repository import Repository, S
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement
from db.runs.accepted_runs import count_active, new_run_values
from db.runs.rows import ACTIVE, Backend, Failure, NewRun, RunRow, RunState
from db.runs.tables import SAVED_QUERY_GONE, QueryRun


class SessionQueue(Repository[RunRow, S]):
    model = QueryRun
    row = RunRow
    noun = "run"
    conflicts = SAVED_QUERY_GONE

    async def accept(
        self: "SessionQueue[Session]", run_id: UUID, new: NewRun, *, process: int, max_active: int
    ) -> RunRow:
        """Queues a run for `process`, which holds the session.

        Raises:
            RateLimited: The owner has `max_active` queued and running runs in sessions.
        """
        accepted = await self.one(
            self._accept(), id=run_id, **new._asdict(), process=process, max_active=max_active
        )
        if accepted is None:
            raise RateLimited(
                f"You already have {max_active} queued or running runs in sessions.",
                hint="Wait until some of them have ended, or cancel some.",
                retry_after_s=1,
            )
        return accepted

    async def oldest(self, session_id: UUID) -> datetime | None:
        """Since when the run that is next waits. None without one."""
        found: datetime | None = await self.value(self._oldest(), session_id=session_id)
        return found

    async def claim_next(
        self: "SessionQueue[Session]", session_id: UUID, backend: Backend
    ) -> RunRow | None:
        """Starts the oldest queued run; the caller has locked the row of the session."""
        values = {"pid": backend.pid, "started": backend.started_at}
        return await self.one(self._claim_next(), session_id=session_id, **values)

    async def interrupt(
        self: "SessionQueue[Session]",
        session_id: UUID,
        *,
        queued: Failure,
        running: Failure,
        keep: timedelta,
    ) -> Sequence[RunRow]:
        """Ends the queued and running runs of a session that is closed."""
        return await self.all(
            self._interrupt(),
            session_id=session_id,
            queued=msgspec.json.encode(queued).decode(),
            running=msgspec.json.encode(running).decode(),
            keep=keep,
        )

    @change_statement
    def _accept(cls) -> ClauseElement:
        active = count_active(in_sessions=True)
        values = new_run_values()
        new = select(*values.values()).where(
            active.c.runs < bindparam("max_active", type_=Integer())
        )
        insertion = insert(cls.table()).from_select(list(values), new, include_defaults=False)
        return insertion.returning(*cls.columns())

    @classmethod
    def _next(cls, name: str) -> Any:
        """Also a run that was started, but whose worker lost the connection before it knew.

        The worker asks only while it executes nothing. Those of scripts are theirs.
        """
        mine = cls.table().alias("mine").c
        return (
            select(mine[name])
            .where(
                mine.owner_id == bindparam("owner_id"),
                mine.session_id == bindparam("session_id"),
                mine.state.in_(text_literals(ACTIVE)),
                mine.script_id.is_(None),
            )
            .order_by(mine.created_at, mine.id)
            .limit(1)
        )

    @statement
    def _oldest(cls) -> ClauseElement:
        return cls._next("created_at")  # type: ignore[no-any-return]  # a Select

    @change_statement
    def _claim_next(cls) -> ClauseElement:
        run = cls.table().c
        claim = cls.owned_update().where(
            run.id == cls._next("id").scalar_subquery(),
            run.state.in_(text_literals(ACTIVE)),
        )
        started: dict[str, Any] = {
            "state": RunState.RUNNING,
            "started_at": func.clock_timestamp(),
            "backend_pid": bindparam("pid", type_=Integer()),
            "backend_started_at": bindparam("started", type_=Text()),
            "revision": run.revision + 1,
        }
        return claim.values(started).returning(*cls.columns())

    @change_statement
    def _interrupt(cls) -> ClauseElement:
        run = cls.table().c
        active = cls.owned_update().where(
            run.session_id == bindparam("session_id"), run.state.in_(text_literals(ACTIVE))
        )
        error = case(
            (
                run.state == text_literal(RunState.QUEUED),
                bindparam("queued", type_=Text()),
            ),
            else_=bindparam("running", type_=Text()),
        )
        values: dict[str, Any] = {
            "state": RunState.INTERRUPTED,
            "error": error,
            "finished_at": func.clock_timestamp(),
            "expires_at": func.now() + bindparam("keep", type_=Interval()),
            "revision": run.revision + 1,
        }
        return active.values(values).returning(*cls.columns())
