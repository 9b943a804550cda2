"""Repository of runs. Every state transition is one UPDATE conditional on the previous state."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    ARRAY,
    Boolean,
    Interval,
    Select,
    Text,
    Update,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.sql import ClauseElement

from db.errors import Conflict, RateLimited
from db.kit.paging import Page, SortOrder, Window
from db.kit.repository import Repository, S
from db.kit.text_rules import Required, contains_pattern
from db.postgres.engine import Session
from db.postgres.statements import change_statement, statement
from db.runs.rows import (
    ACTIVE,
    CancelOutcome,
    Ending,
    NewRun,
    RunFilter,
    RunRow,
    RunState,
    RunUsage,
)
from db.runs.tables import QueryRun

NEWEST = SortOrder("created_at", descending=True)
TEXTS = ("statement", "parameters", "notices")
"""The columns whose sizes count as the texts of a run; `expire_over_quota` names them too."""

search_rule = Required("search", max_length=200)


class Runs(Repository[RunRow, S]):
    model = QueryRun
    row = RunRow
    noun = "run"

    async def create(
        self: "Runs[Session]", new: NewRun, *, process: int, max_active: int
    ) -> RunRow:
        """Queues a run. Concurrent calls of one owner are serialized by an advisory lock.

        Raises:
            RateLimited: The owner has `max_active` queued and running runs.
        """
        await self.run(self._lock_queue())
        if await self.value(self._count_active()) >= max_active:
            raise RateLimited(
                f"You already have {max_active} queued or running runs.",
                hint="Wait until some of them have ended, or cancel some.",
                retry_after_s=1,
            )
        return await self.add(**new._asdict(), process=process)

    async def claim_next(self: "Runs[Session]", *, process: int, max_running: int) -> RunRow | None:
        """Starts the oldest run that this process queued, if the owner is below `max_running`.

        Older runs that other processes queued count as running, so runs start in order.
        """
        return await self.one(self._claim_next(), process=process, max_running=max_running)

    async def has_queued(self, *, process: int) -> bool:
        return bool(await self.value(self._count_queued(), process=process))

    async def record_backend(
        self: "Runs[Session]", run_id: UUID, *, pid: int, started_at: str
    ) -> None:
        """Records the backend of the user's database, so that other replicas can terminate it.

        Raises:
            Conflict: The run has ended, so its statement must not be sent.
        """
        if not await self.run(self._record_backend(), id=run_id, pid=pid, started=started_at):
            raise _finished_error()

    async def add_page_totals(
        self: "Runs[Session]", run_id: UUID, *, columns: str, rows: int, size: int
    ) -> None:
        """Adds the rows and bytes of a page.

        Raises:
            Conflict: The run has ended.
        """
        values = {"columns": columns, "rows": rows, "size": size}
        if not await self.run(self._add_page_totals(), id=run_id, **values):
            raise _finished_error()

    async def finish(
        self: "Runs[Session]", run_id: UUID, ending: Ending, *, keep: timedelta
    ) -> RunRow | None:
        """Writes the terminal state. Returns None, and changes nothing, if the run has ended."""
        fields = {
            "columns": ending.columns,
            "error": ending.error,
            "notices": ending.notices,
            "truncated": ending.truncated,
        }
        encoded = {
            name: None if value is None else msgspec.json.encode(value).decode()
            for name, value in fields.items()
        }
        return await self.one(
            self._finish(),
            id=run_id,
            keep=keep,
            to=ending.state,
            rows_affected=ending.rows_affected,
            command=ending.command,
            without_rows=ending.without_rows,
            cancel_outcome=ending.cancel_outcome,
            connection_usable=ending.connection_usable,
            **encoded,
        )

    async def request_cancel(
        self: "Runs[Session]", run_id: UUID, *, keep: timedelta
    ) -> RunRow | None:
        """Cancels a queued run, or marks a running one. Returns None if the run has ended."""
        return await self.one(self._request_cancel(), id=run_id, keep=keep)

    async def delete_finished(self: "Runs[Session]", run_id: UUID) -> None:
        """Deletes a finished run.

        Raises:
            Conflict: The run is queued or running.
        """
        if await self.run(self._delete_finished(), id=run_id):
            return
        found = await self.require(run_id)
        raise Conflict(
            f"This run is {found.state}.", hint="Cancel it first, then delete it.", field="id"
        )

    async def active(self) -> Sequence[RunRow]:
        return await self.all(self._active())

    async def page(self, window: Window, filters: RunFilter) -> Page[RunRow]:
        values = _values(filters)
        return await self.fetch_page(
            self._page(tuple(values), window.shape), window, NEWEST, **values
        )

    async def count(self, filters: RunFilter) -> int:
        values = _values(filters)
        return int(await self.value(self._count(tuple(values)), **values))

    async def usage(self) -> RunUsage:
        return RunUsage(*map(int, (await self.run(self._usage()))[0]))

    @statement
    def _usage(cls) -> ClauseElement:
        """The size of a text is in its row, so none is read."""
        run = cls.table().c
        texts = sum(func.octet_length(run[name]) for name in TEXTS)
        sums = (func.coalesce(func.sum(size), 0) for size in (texts, run.result_bytes))
        return cls.owned(func.count(), *sums)

    @statement
    def _lock_queue(cls) -> ClauseElement:
        name = func.concat("runs of ", bindparam("owner_id", type_=Uuid()))
        return select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0)))

    @statement
    def _count_active(cls) -> ClauseElement:
        return cls.owned(func.count()).where(cls.table().c.state.in_(_literals(ACTIVE)))

    @statement
    def _count_queued(cls) -> ClauseElement:
        run = cls.table().c
        queued = run.state == _literal(RunState.QUEUED)
        return cls.owned(func.count()).where(queued, run.process == bindparam("process"))

    @change_statement
    def _claim_next(cls) -> ClauseElement:
        run, other = cls.table().c, cls.table().alias("other").c
        mine = cls.table().alias("mine").c
        oldest = (
            select(mine.id)
            .where(
                mine.owner_id == bindparam("owner_id"),
                mine.state == _literal(RunState.QUEUED),
                mine.process == bindparam("process"),
            )
            .order_by(mine.id)
            .limit(1)
            .scalar_subquery()
        )
        older = and_(other.state == _literal(RunState.QUEUED), other.id < run.id)
        ahead = (
            select(func.count())
            .where(
                other.owner_id == bindparam("owner_id"),
                or_(other.state == _literal(RunState.RUNNING), older),
            )
            .correlate(cls.table())
            .scalar_subquery()
        )
        claim = cls.owned_update().where(
            run.id == oldest,
            run.state == _literal(RunState.QUEUED),
            ahead < bindparam("max_running"),
        )
        started = {
            "state": RunState.RUNNING,
            "started_at": func.now(),
            "revision": run.revision + 1,
        }
        return claim.values(started).returning(*cls.columns())

    @change_statement
    def _record_backend(cls) -> ClauseElement:
        noted: dict[str, Any] = {
            "backend_pid": bindparam("pid"),
            "backend_started_at": bindparam("started"),
        }
        return cls._running().values(noted).returning(cls.table().c.revision)

    @change_statement
    def _add_page_totals(cls) -> ClauseElement:
        run = cls.table().c
        more: dict[str, Any] = {
            "columns": bindparam("columns"),
            "row_count": run.row_count + bindparam("rows"),
            "result_bytes": run.result_bytes + bindparam("size"),
            "revision": run.revision + 1,
        }
        return cls._running().values(more).returning(run.revision)

    @change_statement
    def _finish(cls) -> ClauseElement:
        run = cls.table().c
        without_rows = bindparam("without_rows", type_=Boolean())
        names = ("rows_affected", "command", "truncated", "error", "notices")
        values: dict[str, Any] = {name: bindparam(name) for name in names}
        values |= {name: bindparam(name) for name in ("cancel_outcome", "connection_usable")}
        values |= {
            "state": bindparam("to"),
            "columns": func.coalesce(bindparam("columns", type_=Text()), run.columns),
            "finished_at": func.clock_timestamp(),
            "expires_at": func.now() + bindparam("keep", type_=Interval()),
            "row_count": case((without_rows, 0), else_=run.row_count),
            "result_bytes": case((without_rows, 0), else_=run.result_bytes),
            "revision": run.revision + 1,
        }
        return cls._running().values(values).returning(*cls.columns())

    @change_statement
    def _request_cancel(cls) -> ClauseElement:
        run = cls.table().c
        queued = run.state == _literal(RunState.QUEUED)
        change = cls.owned_update().where(
            run.id == bindparam("id"), run.state.in_(_literals(ACTIVE))
        )
        values = {
            "cancel_requested_at": func.coalesce(run.cancel_requested_at, func.now()),
            "state": case((queued, _literal(RunState.CANCELLED)), else_=run.state),
            "finished_at": case((queued, func.now())),
            "expires_at": case((queued, func.now() + bindparam("keep", type_=Interval()))),
            "cancel_outcome": case(
                (queued, _literal(CancelOutcome.CANCELLED)), else_=run.cancel_outcome
            ),
            "connection_usable": case((queued, True), else_=run.connection_usable),
            "revision": run.revision + 1,
        }
        return change.values(values).returning(*cls.columns())

    @change_statement
    def _delete_finished(cls) -> ClauseElement:
        run = cls.table().c
        over = (run.id == bindparam("id"), run.state.not_in(_literals(ACTIVE)))
        return cls.owned_delete().where(*over).returning(run.id)

    @statement
    def _active(cls) -> ClauseElement:
        run = cls.table().c
        return cls.owned().where(run.state.in_(_literals(ACTIVE))).order_by(run.id)

    @statement
    def _page(cls, filters: tuple[str, ...], shape: tuple[bool, bool, bool]) -> ClauseElement:
        return cls.select_page(cls._filtered(cls.owned(), filters), NEWEST, shape)

    @statement
    def _count(cls, filters: tuple[str, ...]) -> ClauseElement:
        return cls._filtered(cls.owned(func.count()), filters)

    @classmethod
    def _running(cls) -> Update:
        run = cls.table().c
        return cls.owned_update().where(
            run.id == bindparam("id"), run.state == _literal(RunState.RUNNING)
        )

    @classmethod
    def _filtered(cls, query: Select[Any], filters: tuple[str, ...]) -> Select[Any]:
        run = cls.table().c
        conditions = {
            "connection_id": run.connection_id == bindparam("connection_id", type_=Uuid()),
            "states": run.state == any_(bindparam("states", type_=ARRAY(Text))),
            "search": func.lower(run.statement).like(bindparam("search"), escape="\\"),
        }
        return query.where(*(conditions[name] for name in filters))


def _values(filters: RunFilter) -> dict[str, Any]:
    """The values of the filters that are set; their names select the statement."""
    present = {name: value for name, value in filters._asdict().items() if value is not None}
    if filters.search is not None:
        present["search"] = contains_pattern(search_rule.checked(filters.search).lower())
    return present


def _finished_error() -> Conflict:
    return Conflict("This run has ended.", hint="Query the run to read its final state.")


def _literal(state: str) -> Any:
    """A literal instead of a parameter: PostgreSQL matches partial indexes by literals."""
    return literal_column(f"'{state}'", Text())


def _literals(states: Sequence[str]) -> list[Any]:
    return [_literal(state) for state in states]
