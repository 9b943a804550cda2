"""Repository of runs. Every state transition is one UPDATE conditional on the previous state."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Interval,
    LargeBinary,
    Select,
    Text,
    Update,
    Uuid,
    any_,
    bindparam,
    case,
    func,
)
from sqlalchemy.sql import ClauseElement

from db.errors import Conflict, TooLarge
from db.kit.base import text_literal, text_literals
from db.kit.lists.long_texts import ROWS_BYTES, end_after
from db.kit.lists.paging import Page, PageShape, SortOrder, Window
from db.kit.lists.rows import rows_of
from db.kit.repository import Repository, S, is_any_of
from db.kit.text_rules import Required, contains_pattern
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement
from db.runs.rows import (
    ACTIVE,
    Backend,
    CancelOutcome,
    Ending,
    RunBackend,
    RunFilter,
    RunRow,
    RunState,
    RunUsage,
)
from db.runs.tables import QueryRun

NEWEST = SortOrder("created_at", descending=True)
TEXTS = ("statement", "parameters", "notices", "columns", "error")
"""The columns whose sizes count as the texts of a run; `expire_over_quota` names them too."""

search_rule = Required("search", max_length=200)


class Runs(Repository[RunRow, S]):
    model = QueryRun
    row = RunRow
    noun = "run"
    long_texts = TEXTS

    async def record_backend(self: "Runs[Session]", run_id: UUID, backend: Backend) -> None:
        """Records the backend of the user's database, so that other replicas can terminate it.

        Raises:
            Conflict: The run has ended, so its statement must not be sent.
        """
        values = {"pid": backend.pid, "started": backend.started_at}
        if not await self.run(self._record_backend(), id=run_id, **values):
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

    async def record_notices(self: "Runs[Session]", run_id: UUID, notices: str) -> bool:
        """Replaces the notices of a running run; returns False if the run has ended."""
        return bool(await self.run(self._record_notices(), id=run_id, notices=notices))

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
            inline_rows=ending.rows and ending.rows.lines,
            inline_count=ending.rows.row_count if ending.rows else 0,
            inline_size=len(ending.rows.lines) if ending.rows else 0,
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
        """Raises TooLarge if they have too much text."""
        found, goes_on = await self.run_ended(self._active(), ROWS_BYTES)
        if goes_on:
            raise TooLarge(
                f"Your queued and running runs have more than {ROWS_BYTES >> 20} MiB of texts.",
                hint="List them page by page with `queryRuns`, or cancel some.",
            )
        return rows_of(RunRow, found)

    async def backends(self, run_ids: Iterable[UUID]) -> Sequence[RunBackend]:
        """The backends of those runs that are running and have one."""
        found = await self.run(self._backends(), ids=list(run_ids))
        return [
            RunBackend(run_id, connection_id, Backend(pid, started_at))
            for run_id, connection_id, pid, started_at in found
        ]

    async def backends_elsewhere(self, connection_id: UUID, *, process: int) -> Sequence[Backend]:
        """The backends that execute runs of other processes than `process` on a connection.

        Without those of sessions.
        """
        values = {"connection_id": connection_id, "process": process}
        return [Backend(*row) for row in await self.run(self._backends_elsewhere(), **values)]

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
        texts = sum(func.coalesce(func.octet_length(run[name]), 0) for name in TEXTS)
        sums = (func.coalesce(func.sum(size), 0) for size in (texts, run.result_bytes))
        return cls.owned(func.count(), *sums)

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
    def _record_notices(cls) -> ClauseElement:
        run = cls.table().c
        more: dict[str, Any] = {"notices": bindparam("notices"), "revision": run.revision + 1}
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
            "row_count": case(
                (without_rows, 0),
                else_=run.row_count + bindparam("inline_count", type_=BigInteger()),
            ),
            "result_bytes": case(
                (without_rows, 0),
                else_=run.result_bytes + bindparam("inline_size", type_=BigInteger()),
            ),
            "inline_rows": bindparam("inline_rows", type_=LargeBinary()),
            "revision": run.revision + 1,
        }
        return cls._running().values(values).returning(*cls.columns())

    @change_statement
    def _request_cancel(cls) -> ClauseElement:
        run = cls.table().c
        queued = run.state == text_literal(RunState.QUEUED)
        change = cls.owned_update().where(
            run.id == bindparam("id"), run.state.in_(text_literals(ACTIVE))
        )
        values = {
            "cancel_requested_at": func.coalesce(run.cancel_requested_at, func.now()),
            "state": case((queued, text_literal(RunState.CANCELLED)), else_=run.state),
            "finished_at": case((queued, func.now())),
            "expires_at": case((queued, func.now() + bindparam("keep", type_=Interval()))),
            "cancel_outcome": case(
                (queued, text_literal(CancelOutcome.CANCELLED)), else_=run.cancel_outcome
            ),
            "connection_usable": case((queued, True), else_=run.connection_usable),
            "revision": run.revision + 1,
        }
        return change.values(values).returning(*cls.columns())

    @change_statement
    def _delete_finished(cls) -> ClauseElement:
        run = cls.table().c
        over = (run.id == bindparam("id"), run.state.not_in(text_literals(ACTIVE)))
        return cls.owned_delete().where(*over).returning(run.id)

    @statement
    def _active(cls) -> ClauseElement:
        run = cls.table().c
        found = cls.owned().where(run.state.in_(text_literals(ACTIVE)))
        return end_after(found, TEXTS, [("id", False)], ROWS_BYTES)

    @statement
    def _backends(cls) -> ClauseElement:
        run = cls.table().c
        found = cls.owned(run.id, run.connection_id, run.backend_pid, run.backend_started_at)
        return found.where(
            is_any_of(run.id),
            run.state == text_literal(RunState.RUNNING),
            run.connection_id.is_not(None),
            run.backend_pid.is_not(None),
        )

    @statement
    def _backends_elsewhere(cls) -> ClauseElement:
        run = cls.table().c
        return cls.owned(run.backend_pid, run.backend_started_at).where(
            run.connection_id == bindparam("connection_id"),
            run.state == text_literal(RunState.RUNNING),
            run.process != bindparam("process"),
            run.session_id.is_(None),
            run.backend_pid.is_not(None),
        )

    @statement
    def _page(cls, filters: tuple[str, ...], shape: PageShape) -> ClauseElement:
        return cls.select_page(cls._filtered(cls.owned(), filters), NEWEST, shape)

    @statement
    def _count(cls, filters: tuple[str, ...]) -> ClauseElement:
        return cls._filtered(cls.owned(func.count()), filters)

    @classmethod
    def _running(cls) -> Update:
        run = cls.table().c
        return cls.owned_update().where(
            run.id == bindparam("id"), run.state == text_literal(RunState.RUNNING)
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
