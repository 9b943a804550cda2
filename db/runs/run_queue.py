"""Repository of the runs that start or wait: a limited number of one owner's run at once.

Runs in a database session are not among them: db.runs.session_queue.
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import (
    Boolean,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.sql import ClauseElement

from db.errors import RateLimited
from db.kit.base import text_literal, text_literals
from db.kit.live_processes import fenced_error, is_fenced
from db.kit.locks import RunQueueLock, run_queue_lock
from db.kit.repository import Repository, S, is_any_of
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement
from db.runs.accepted_runs import count_active, new_run_values
from db.runs.rows import ACTIVE, Backend, NewRun, RunRow, RunState
from db.runs.tables import SAVED_QUERY_GONE, QueryRun


class RunQueue(Repository[RunRow, S]):
    model = QueryRun
    row = RunRow
    noun = "run"
    conflicts = SAVED_QUERY_GONE

    async def accept(
        self: "RunQueue[Session]",
        lock: RunQueueLock,
        run_id: UUID,
        new: NewRun,
        *,
        process: int,
        has_slot: bool,
        backend: Backend | None,
        max_running: int,
        max_active: int,
    ) -> RunRow:
        """Starts a run if the process has a slot for it and the owner is below `max_running`.

        Otherwise queues it. `backend` is recorded with a run that starts, so that other replicas
        can terminate it. `lock` serializes the calls of one owner: `Connections` takes it with the
        connection of the run.

        Raises:
            RateLimited: The owner has `max_active` queued and running runs.
            Unavailable: The process was found dead.
        """
        lock.require_held_by(self.session, self.owner)
        accepted = await self.one(
            self._accept(),
            id=run_id,
            **new._asdict(),
            process=process,
            has_slot=has_slot,
            pid=backend and backend.pid,
            started=backend and backend.started_at,
            max_running=max_running,
            max_active=max_active,
        )
        if accepted is None:
            if await self.value(self._is_fenced(), process=process):
                raise fenced_error()
            raise RateLimited(
                f"You already have {max_active} queued or running runs.",
                hint="Wait until some of them have ended, or cancel some.",
                retry_after_s=1,
            )
        return accepted

    async def claim_next(
        self: "RunQueue[Session]",
        *,
        process: int,
        executing: Collection[UUID],
        max_running: int,
    ) -> RunRow | None:
        """Starts the oldest run that this process queued, if the owner is below `max_running`.

        Older runs that other processes queued count as running, so runs start in order. A run that
        an earlier call has started, but whose caller lost the connection before it knew, is
        returned again: it is not `executing`, and nothing was sent, which its backend would show.
        Serialized with `accept`, because a run with an older ID may be accepted later.
        """
        await self.lock()
        values = {"process": process, "executing": list(executing), "max_running": max_running}
        return await self.one(self._claim_next(), **values)

    async def lock(self: "RunQueue[Session]") -> RunQueueLock:
        await self.run(self._lock())
        return RunQueueLock(self.session, self.owner)

    async def has_queued(self, *, process: int) -> bool:
        return bool(await self.value(self._count_queued(), process=process))

    @statement
    def _lock(cls) -> ClauseElement:
        return select(run_queue_lock())

    @change_statement
    def _accept(cls) -> ClauseElement:
        active = count_active(in_sessions=False)
        starts = and_(
            bindparam("has_slot", type_=Boolean()),
            active.c.runs < bindparam("max_running", type_=Integer()),
        )
        values = new_run_values() | {
            "state": case(
                (starts, text_literal(RunState.RUNNING)), else_=text_literal(RunState.QUEUED)
            ),
            "started_at": case((starts, func.now())),
            "backend_pid": case((starts, bindparam("pid", type_=Integer()))),
            "backend_started_at": case((starts, bindparam("started", type_=Text()))),
        }
        new = select(*values.values()).where(
            active.c.runs < bindparam("max_active", type_=Integer()), ~is_fenced()
        )
        insertion = insert(cls.table()).from_select(list(values), new, include_defaults=False)
        return insertion.returning(*cls.columns())

    @statement
    def _is_fenced(cls) -> ClauseElement:
        return select(is_fenced())

    @statement
    def _count_queued(cls) -> ClauseElement:
        run = cls.table().c
        queued = (run.state == text_literal(RunState.QUEUED), run.session_id.is_(None))
        return cls.owned(func.count()).where(*queued, run.process == bindparam("process"))

    @change_statement
    def _claim_next(cls) -> ClauseElement:
        run, other = cls.table().c, cls.table().alias("other").c
        mine = cls.table().alias("mine").c
        is_unconfirmed = and_(
            mine.state == text_literal(RunState.RUNNING),
            mine.started_at > mine.created_at,  # else it was started when it was accepted
            mine.backend_pid.is_(None),
            ~is_any_of(mine.id, "executing"),
        )
        oldest = (
            select(mine.id)
            .where(
                mine.owner_id == bindparam("owner_id"),
                or_(mine.state == text_literal(RunState.QUEUED), is_unconfirmed),
                mine.process == bindparam("process"),
                mine.session_id.is_(None),
            )
            .order_by(mine.id)
            .limit(1)
            .scalar_subquery()
        )
        older = and_(other.state == text_literal(RunState.QUEUED), other.id < run.id)
        ahead = (
            select(func.count())
            .where(
                other.owner_id == bindparam("owner_id"),
                other.session_id.is_(None),
                other.id != run.id,
                or_(other.state == text_literal(RunState.RUNNING), older),
            )
            .correlate(cls.table())
            .scalar_subquery()
        )
        claim = cls.owned_update().where(
            run.id == oldest,
            run.state.in_(text_literals(ACTIVE)),
            ahead < bindparam("max_running"),
        )
        started = {
            "state": RunState.RUNNING,
            "started_at": func.now(),
            "revision": run.revision + 1,
        }
        return claim.values(started).returning(*cls.columns())
