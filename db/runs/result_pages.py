"""Repository of result pages: which rows of a result are in which stored object."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Select,
    Text,
    bindparam,
    func,
    literal,
    literal_column,
    null,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import ClauseElement

from db.kit.repository import Repository, S
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement
from db.runs.rows import PageRow
from db.runs.tables import QueryRun, QueryRunPage

_STORED = tuple(name for name in PageRow._fields if name != "lines")
"""The fields of a page that its table has."""


class ResultPages(Repository[PageRow, S]):
    model = QueryRunPage
    row = PageRow
    noun = "page"

    async def append(self: "ResultPages[Session]", run_id: UUID, page: PageRow) -> bool:
        """Returns False if the page exists already."""
        values = {name: getattr(page, name) for name in _STORED}
        return bool(await self.run(self._append(), run_id=run_id, **values))

    async def list_overlapping(self, run_id: UUID, start: int, end: int) -> Sequence[PageRow]:
        """The pages with rows in the range from `start` to before `end`, in order.

        The rows of a small result are one page, which holds its `lines`.
        """
        return await self.all(self._list_overlapping(), run_id=run_id, start=start, end=end)

    async def max_average_row_bytes(self, run_id: UUID) -> int:
        """The largest average row size of a page; 0 without pages."""
        return int(await self.value(self._max_average_row_bytes(), run_id=run_id))

    async def delete_all(self: "ResultPages[Session]", run_id: UUID) -> None:
        await self.run(self._delete_all(), run_id=run_id)

    @change_statement
    def _append(cls) -> ClauseElement:
        names = ("owner_id", "run_id", *_STORED)
        new = insert(cls.table()).values({name: bindparam(name) for name in names})
        return new.on_conflict_do_nothing().returning(cls.table().c.number)

    @classmethod
    def columns(cls) -> list[Any]:
        table = cls.table()
        return [*(table.c[name] for name in _STORED), null().label("lines")]

    @classmethod
    def _inline(cls, *columns: Any) -> Select[Any]:
        """The base of statements on the rows that are stored with their run."""
        run = QueryRun.__table__.c
        return select(*columns).where(
            run.owner_id == bindparam("owner_id"),
            run.id == bindparam("run_id"),
            run.inline_rows.is_not(None),
        )

    @statement
    def _list_overlapping(cls) -> ClauseElement:
        page, run = cls.table().c, QueryRun.__table__.c
        stored = cls.owned().where(
            page.run_id == bindparam("run_id"),
            page.first_row < bindparam("end"),
            page.first_row + page.row_count > bindparam("start"),
        )
        whole = literal("[]", Text())
        inline = cls._inline(
            literal(0), literal(0), run.row_count, run.result_bytes, whole, run.inline_rows
        ).where(run.row_count > bindparam("start"))
        return union_all(stored, inline).order_by(literal_column("1"))

    @statement
    def _max_average_row_bytes(cls) -> ClauseElement:
        page, run = cls.table().c, QueryRun.__table__.c
        stored = cls.owned(_average(page.size, page.row_count)).where(
            page.run_id == bindparam("run_id")
        )
        inline = cls._inline(_average(run.result_bytes, run.row_count)).where(run.row_count > 0)
        sizes = union_all(stored, inline).subquery("sizes")
        return select(func.coalesce(func.max(sizes.c.bytes), 0))

    @change_statement
    def _delete_all(cls) -> ClauseElement:
        return cls.owned_delete().where(cls.table().c.run_id == bindparam("run_id"))


def _average(size: Any, rows: Any) -> Any:
    return ((size + rows - 1) // rows).label("bytes")
