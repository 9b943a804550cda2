"""Pages of the children of many parents, read by one statement."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Select, Uuid, bindparam, column, func, select, true
from sqlalchemy.sql import ClauseElement

from db.kit.lists.long_texts import CHILDREN_BYTES, end_after, too_much_text
from db.kit.lists.paging import (
    Page,
    PageShape,
    SortOrder,
    Window,
    make_page,
    page_sorting,
    window_values,
)
from db.kit.lists.rows import Rows
from db.kit.repository import R, Repository, S
from db.postgres.statements import Statement

PARENTS = (
    func.unnest(bindparam("ids", type_=ARRAY(Uuid)))
    .table_valued(column("id", Uuid), with_ordinality="position")
    .render_derived(name="parents")
)


class PagesOfParents(Repository[R, S]):
    """A repository whose rows are also listed by parent."""

    async def fetch_pages(
        self,
        query: Statement[S],
        ids: Sequence[UUID],
        window: Window,
        order: SortOrder,
        **values: Any,
    ) -> Mapping[UUID, Page[R]]:
        """A page for each parent. `query` is a `page_per_parent`.

        Raises:
            TooLarge: The rows of several parents have too much text.
        """
        kind = self.table().c[order.column].type.python_type
        values |= window_values(window, order, kind=kind)
        row = self.page_row(window.columns, order)
        found: list[list[Any]] = [[] for _ in ids]
        values["ids"], goes_on = list(ids), False
        if self._texts_of(row):
            records, goes_on = await self.run_ended(query, CHILDREN_BYTES, **values)
            if goes_on and len(ids) > 1:
                raise too_much_text(CHILDREN_BYTES)
        else:
            records = await self.run(query, **values)
        for record in records:
            found[record[-1] - 1].append(record[:-1])
        pages = (make_page(Rows(row, each), window, order, goes_on=goes_on) for each in found)
        return dict(zip(ids, pages, strict=True))

    @classmethod
    def page_per_parent(
        cls, query: Select[Any], order: SortOrder, shape: PageShape
    ) -> ClauseElement:
        """One page for each of PARENTS; the last column is the parent's position."""
        page = cls.select_whole_page(query, order, shape).lateral("page")
        position = PARENTS.c.position
        each = select(*page.c, position).select_from(PARENTS.join(page, true()))
        sorting = page_sorting(order, shape)
        if texts := cls._texts_of(cls.page_row(shape.columns, order)):
            return end_after(each, texts, [("position", False), *sorting], CHILDREN_BYTES)
        columns = [page.c[name].desc() if falls else page.c[name].asc() for name, falls in sorting]
        return each.order_by(position, *columns)
