"""Repository of the runs of scripts: each is started when its turn comes, never queued."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, Select, Text, Uuid, bindparam, func, insert
from sqlalchemy.sql import ClauseElement

from db.kit.paging import Page, PageShape, SortOrder, Window
from db.kit.repository import Repository, S
from db.postgres.engine import Session
from db.postgres.statements import change_statement, statement
from db.runs.rows import Backend, NewRun, RunRow, RunState
from db.runs.tables import QueryRun, state_literal

IN_ORDER = SortOrder("script_index", descending=False)


class ScriptedRuns(Repository[RunRow, S]):
    model = QueryRun
    row = RunRow
    noun = "run"

    async def start(
        self: "ScriptedRuns[Session]",
        run_id: UUID,
        new: NewRun,
        *,
        process: int,
        backend: Backend,
    ) -> RunRow:
        """Inserts a running run; the caller has locked the row of its session."""
        values = {"process": process, "pid": backend.pid, "started": backend.started_at}
        started = await self.one(self._start(), id=run_id, **new._asdict(), **values)
        assert started is not None  # noqa: S101 - an insertion returns its row
        return started

    async def running(self, script_id: UUID) -> Sequence[RunRow]:
        """The run that a script executes now, if any."""
        return await self.all(self._running_of(), script_id=script_id)

    async def page(self, window: Window, script_id: UUID) -> Page[RunRow]:
        """The statements of a script, without the end of its transaction."""
        return await self.fetch_page(
            self._page(window.shape), window, IN_ORDER, script_id=script_id
        )

    async def count(self, script_id: UUID) -> int:
        return int(await self.value(self._count(), script_id=script_id))

    @change_statement
    def _start(cls) -> ClauseElement:
        table = cls.table()
        names = ("id", "owner_id", *NewRun._fields, "process")
        values: dict[str, Any] = {name: bindparam(name, type_=table.c[name].type) for name in names}
        values |= {
            "state": state_literal(RunState.RUNNING),
            "started_at": func.clock_timestamp(),
            "backend_pid": bindparam("pid", type_=Integer()),
            "backend_started_at": bindparam("started", type_=Text()),
        }
        return insert(table).values(values).returning(*cls.columns())

    @statement
    def _running_of(cls) -> ClauseElement:
        return cls._of_script().where(cls.table().c.state == state_literal(RunState.RUNNING))

    @statement
    def _page(cls, shape: PageShape) -> ClauseElement:
        statements = cls._of_script().where(cls.table().c.script_index.is_not(None))
        return cls.select_page(statements, IN_ORDER, shape)

    @statement
    def _count(cls) -> ClauseElement:
        statements = cls._of_script(func.count())
        return statements.where(cls.table().c.script_index.is_not(None))

    @classmethod
    def _of_script(cls, *columns: Any) -> Select[Any]:
        script_id = bindparam("script_id", type_=Uuid())
        return cls.owned(*columns).where(cls.table().c.script_id == script_id)
