"""Where the rows of a result are."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import bindparam, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import ClauseElement

from db.kit.repository import Repository
from db.postgres.statements import statement
from db.runs.rows import PageRow
from db.runs.tables import QueryRunPage


class Pages(Repository[PageRow]):
    """The pages of one owner's results."""

    model = QueryRunPage
    row = PageRow
    noun = "page"

    async def append(self, run_id: UUID, page: PageRow) -> bool:
        """False when it is there already."""
        return bool(await self.run(self._append(), run_id=run_id, **page._asdict()))

    async def between(self, run_id: UUID, start: int, end: int) -> Sequence[PageRow]:
        """Those with rows from `start` until before `end`, in order."""
        return await self.all(self._between(), run_id=run_id, start=start, end=end)

    async def heaviest(self, run_id: UUID) -> int:
        """The most bytes that the rows of a page have on average; 0 when there is none."""
        return int(await self.value(self._heaviest(), run_id=run_id))

    async def drop(self, run_id: UUID) -> None:
        await self.run(self._drop(), run_id=run_id)

    @statement
    def _append(cls) -> ClauseElement:
        names = ("owner_id", "run_id", *PageRow._fields)
        new = insert(cls.table()).values({name: bindparam(name) for name in names})
        return new.on_conflict_do_nothing().returning(cls.table().c.number)

    @statement
    def _between(cls) -> ClauseElement:
        page = cls.table().c
        found = cls.owned().where(
            page.run_id == bindparam("run_id"),
            page.first_row < bindparam("end"),
            page.first_row + page.row_count > bindparam("start"),
        )
        return found.order_by(page.number)

    @statement
    def _heaviest(cls) -> ClauseElement:
        page = cls.table().c
        each = (page.size + page.row_count - 1) // page.row_count
        heaviest = cls.owned(func.coalesce(func.max(each), 0))
        return heaviest.where(page.run_id == bindparam("run_id"))

    @statement
    def _drop(cls) -> ClauseElement:
        return cls.owned_delete().where(cls.table().c.run_id == bindparam("run_id"))
