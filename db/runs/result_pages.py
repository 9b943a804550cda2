"""Repository of result pages: which rows of a result are in which stored object."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import bindparam, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import ClauseElement

from db.kit.repository import Repository, S
from db.postgres.engine import Session
from db.postgres.statements import change_statement, statement
from db.runs.rows import PageRow
from db.runs.tables import QueryRunPage


class ResultPages(Repository[PageRow, S]):
    model = QueryRunPage
    row = PageRow
    noun = "page"

    async def append(self: "ResultPages[Session]", run_id: UUID, page: PageRow) -> bool:
        """Returns False if the page exists already."""
        return bool(await self.run(self._append(), run_id=run_id, **page._asdict()))

    async def list_overlapping(self, run_id: UUID, start: int, end: int) -> Sequence[PageRow]:
        """The pages with rows in the range from `start` to before `end`, in order."""
        return await self.all(self._list_overlapping(), run_id=run_id, start=start, end=end)

    async def max_average_row_bytes(self, run_id: UUID) -> int:
        """The largest average row size of a page; 0 without pages."""
        return int(await self.value(self._max_average_row_bytes(), run_id=run_id))

    async def delete_all(self: "ResultPages[Session]", run_id: UUID) -> None:
        await self.run(self._delete_all(), run_id=run_id)

    @change_statement
    def _append(cls) -> ClauseElement:
        names = ("owner_id", "run_id", *PageRow._fields)
        new = insert(cls.table()).values({name: bindparam(name) for name in names})
        return new.on_conflict_do_nothing().returning(cls.table().c.number)

    @statement
    def _list_overlapping(cls) -> ClauseElement:
        page = cls.table().c
        found = cls.owned().where(
            page.run_id == bindparam("run_id"),
            page.first_row < bindparam("end"),
            page.first_row + page.row_count > bindparam("start"),
        )
        return found.order_by(page.number)

    @statement
    def _max_average_row_bytes(cls) -> ClauseElement:
        page = cls.table().c
        each = (page.size + page.row_count - 1) // page.row_count
        largest = cls.owned(func.coalesce(func.max(each), 0))
        return largest.where(page.run_id == bindparam("run_id"))

    @change_statement
    def _delete_all(cls) -> ClauseElement:
        return cls.owned_delete().where(cls.table().c.run_id == bindparam("run_id"))
