"""Repository of the runs in database sessions, listed by session."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.sql import ClauseElement

from db.kit.lists.paging import Page, PageShape, Window
from db.kit.parent_pages import PARENTS, PagesOfParents
from db.kit.repository import S, is_any_of
from db.postgres.statements import statement
from db.runs.repository import NEWEST, TEXTS
from db.runs.rows import RunRow
from db.runs.tables import QueryRun


class SessionRuns(PagesOfParents[RunRow, S]):
    model = QueryRun
    row = RunRow
    noun = "run"
    long_texts = TEXTS

    async def of_sessions(
        self, session_ids: Sequence[UUID], window: Window
    ) -> Mapping[UUID, Page[RunRow]]:
        """Newest first."""
        return await self.fetch_pages(self._of_sessions(window.shape), session_ids, window, NEWEST)

    async def count_of_sessions(self, session_ids: Sequence[UUID]) -> Mapping[UUID, int]:
        return dict(await self.run(self._count_of_sessions(), ids=list(session_ids)))

    @statement
    def _of_sessions(cls, shape: PageShape) -> ClauseElement:
        runs = cls.owned().where(cls.table().c.session_id == PARENTS.c.id)
        return cls.page_per_parent(runs, NEWEST, shape)

    @statement
    def _count_of_sessions(cls) -> ClauseElement:
        run = cls.table().c
        counted = cls.owned(run.session_id, func.count()).where(is_any_of(run.session_id))
        return counted.group_by(run.session_id)
