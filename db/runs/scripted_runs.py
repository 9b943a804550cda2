"""Repository of the runs of scripts: each is started when its turn comes, never queued."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, Select, Text, Uuid, bindparam, func, insert
from sqlalchemy.sql import ClauseElement

from db.kit.base import text_literal
from db.kit.lists.paging import Page, PageShape, SortOrder, Window
from db.kit.parent_pages import PARENTS, PagesOfParents
from db.kit.repository import S, is_any_of
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement
from db.runs.repository import TEXTS
from db.runs.rows import Backend, NewRun, RunRow, RunState
from db.runs.tables import QueryRun

IN_ORDER = SortOrder("script_index", descending=False)


class ScriptedRuns(PagesOfParents[RunRow, S]):
    model = QueryRun
    row = RunRow
    noun = "run"
    long_texts = TEXTS

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

    async def of_scripts(
        self, script_ids: Sequence[UUID], window: Window
    ) -> Mapping[UUID, Page[RunRow]]:
        """The statements of scripts, without the ends of their transactions."""
        return await self.fetch_pages(self._of_scripts(window.shape), script_ids, window, IN_ORDER)

    async def count_of_scripts(self, script_ids: Sequence[UUID]) -> Mapping[UUID, int]:
        return dict(await self.run(self._count_of_scripts(), ids=list(script_ids)))

    @change_statement
    def _start(cls) -> ClauseElement:
        table = cls.table()
        names = ("id", "owner_id", *NewRun._fields, "process")
        values: dict[str, Any] = {name: bindparam(name, type_=table.c[name].type) for name in names}
        values |= {
            "state": text_literal(RunState.RUNNING),
            "started_at": func.clock_timestamp(),
            "backend_pid": bindparam("pid", type_=Integer()),
            "backend_started_at": bindparam("started", type_=Text()),
        }
        return insert(table).values(values).returning(*cls.columns())

    @statement
    def _running_of(cls) -> ClauseElement:
        run = cls.table().c
        return cls.owned().where(
            run.script_id == bindparam("script_id", type_=Uuid()),
            run.state == text_literal(RunState.RUNNING),
        )

    @statement
    def _of_scripts(cls, shape: PageShape) -> ClauseElement:
        return cls.page_per_parent(cls._statements(), IN_ORDER, shape)

    @statement
    def _count_of_scripts(cls) -> ClauseElement:
        run = cls.table().c
        counted = cls.owned(run.script_id, func.count()).where(
            is_any_of(run.script_id), run.script_index.is_not(None)
        )
        return counted.group_by(run.script_id)

    @classmethod
    def _statements(cls) -> Select[Any]:
        run = cls.table().c
        return cls.owned().where(run.script_id == PARENTS.c.id, run.script_index.is_not(None))
