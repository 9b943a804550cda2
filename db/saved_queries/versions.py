"""The repository of earlier versions of saved queries."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, column, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import ClauseElement

from db.kit.base import new_id
from db.kit.lists.long_texts import bytes_in
from db.kit.lists.paging import Page, PageShape, SortOrder, Window
from db.kit.parent_pages import PARENTS, PagesOfParents
from db.kit.repository import S, is_any_of
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement
from db.saved_queries.rows import SavedVersionRow
from db.saved_queries.tables import SavedQuery, SavedQueryVersion

MAX_VERSIONS = 50
"""Earlier versions of one saved query. The oldest are removed."""

VERSIONED = frozenset({"name", "folder", "text", "parameters"})
"""The fields that a version has. The connection is none: it may be deleted meanwhile."""

NEWEST = SortOrder("saved_at", descending=True)


class SavedVersions(PagesOfParents[SavedVersionRow, S]):
    model = SavedQueryVersion
    row = SavedVersionRow
    noun = "version of a saved query"
    long_texts = ("text", "parameters")

    async def keep(self: "SavedVersions[Session]", query_ids: Sequence[UUID]) -> None:
        """Adds saved queries as they are to their versions, before they are changed."""
        ids = list(query_ids)
        await self.run(self._keep(), ids=ids, version_ids=[new_id() for _ in ids])
        await self.run(self._trim(), ids=ids, most=MAX_VERSIONS)

    async def of_queries(
        self, query_ids: Sequence[UUID], window: Window
    ) -> Mapping[UUID, Page[SavedVersionRow]]:
        return await self.fetch_pages(self._of_queries(window.shape), query_ids, window, NEWEST)

    async def count_of_queries(self, query_ids: Sequence[UUID]) -> Mapping[UUID, int]:
        return dict(await self.run(self._count_of_queries(), ids=list(query_ids)))

    async def text_bytes(self) -> int:
        return int(await self.value(self._text_bytes()))

    @statement
    def _text_bytes(cls) -> ClauseElement:
        return cls.owned(func.coalesce(func.sum(bytes_in(cls.table().c, cls.long_texts)), 0))

    @statement
    def _of_queries(cls, shape: PageShape) -> ClauseElement:
        found = cls.owned().where(cls.table().c.saved_query_id == PARENTS.c.id)
        return cls.page_per_parent(found, NEWEST, shape)

    @statement
    def _count_of_queries(cls) -> ClauseElement:
        query_id = cls.table().c.saved_query_id
        return cls.owned(query_id, func.count()).where(is_any_of(query_id)).group_by(query_id)

    @change_statement
    def _keep(cls) -> ClauseElement:
        table, saved = cls.table(), SavedQuery.__table__.c
        arrays = (bindparam(name, type_=ARRAY(Uuid)) for name in ("ids", "version_ids"))
        changed = (
            func.unnest(*arrays)
            .table_valued(column("id", Uuid), column("version_id", Uuid))
            .render_derived(name="changed")
        )
        values: dict[str, Any] = {
            "id": changed.c.version_id,
            "owner_id": saved.owner_id,
            "saved_query_id": saved.id,
            "saved_at": SavedQuery.__table__.c.updated_at,
        } | {name: saved[name] for name in ("version", *sorted(VERSIONED))}
        before = select(*values.values()).where(
            saved.owner_id == bindparam("owner_id"), saved.id == changed.c.id
        )
        return (
            insert(table)
            .from_select(list(values), before, include_defaults=False)
            .returning(table.c.id)
        )

    @change_statement
    def _trim(cls) -> ClauseElement:
        version = cls.table().c
        number = func.row_number().over(
            partition_by=version.saved_query_id, order_by=version.id.desc()
        )
        kept = (
            cls.owned(version.id, number.label("number"))
            .where(is_any_of(version.saved_query_id))
            .subquery("kept")
        )
        old = select(kept.c.id).where(kept.c.number > bindparam("most"))
        return cls.owned_delete().where(version.id.in_(old)).returning(version.id)
