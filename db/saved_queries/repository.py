"""The repository of saved queries, and of their folders."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Select, Text, Uuid, bindparam, column, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import ClauseElement

from db.errors import TooLarge
from db.kit.base import new_id
from db.kit.lists.long_texts import bytes_in, end_after
from db.kit.lists.paging import Page, PageShape, SortOrder, Window, make_page, window_values
from db.kit.lists.rows import rows_of
from db.kit.repository import Repository, S
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement
from db.saved_queries import rules
from db.saved_queries.rows import QueryFolderRow, SavedQueryFilter, SavedQueryRow
from db.saved_queries.tables import SavedQuery
from db.saved_queries.versions import VERSIONED, SavedVersions

MAX_EXPORT_BYTES = 8 * 1024 * 1024
"""Texts and parameters of one export, and the row that reaches it."""
BY_PATH = SortOrder("path", descending=False)

NAME_TAKEN = (
    "You already have a saved query with this name in this folder.",
    "Choose another name or folder, or pass the `id` of that one.",
    "name",
)


class SavedQueries(Repository[SavedQueryRow, S]):
    """The saved queries of one owner."""

    model = SavedQuery
    row = SavedQueryRow
    noun = "saved query"
    long_texts = ("text", "parameters")
    conflicts = {"uq_saved_queries_owner_id_folder_name": NAME_TAKEN}  # noqa: RUF012 - a Mapping, never written to

    async def create(self: "SavedQueries[Session]", **fields: Any) -> SavedQueryRow:
        """`name` and `text` are required; `connection_id` must be one of the owner's."""
        return await self.add(**checked_fields({"name": None, "text": None} | fields, new=True))

    async def change(
        self: "SavedQueries[Session]",
        query_id: UUID,
        *,
        expected_version: int | None = None,
        **fields: Any,
    ) -> SavedQueryRow:
        """Sets `fields`, and keeps what was there as a version. Needs a transaction.

        A change to the same values changes nothing, so that an editor may save at any time.
        """
        checked = checked_fields(fields)
        before = await self.one_or_raise(query_id, self._lock(), id=query_id)
        self.check_version(before, expected_version)
        changed = {name: value for name, value in checked.items() if getattr(before, name) != value}
        if not changed:
            return before
        if VERSIONED & changed.keys():
            await SavedVersions(self.session, self.owner).keep([query_id])
        return await self.update(query_id, **changed)

    async def page(
        self, window: Window, filters: SavedQueryFilter, order: SortOrder
    ) -> Page[SavedQueryRow]:
        values = filters.values
        return await self.fetch_page(
            self._page(tuple(values), order, window.shape), window, order, **values
        )

    async def count(self, filters: SavedQueryFilter) -> int:
        values = filters.values
        return int(await self.value(self._count(tuple(values)), **values))

    async def folders(self, window: Window, under: str | None) -> Page[QueryFolderRow]:
        """The folders on one level."""
        values = window_values(window, BY_PATH, kind=str)
        query = self._folders(window.shape._replace(columns=None))
        found = await self.run(query, **(_bounds(under) | values))
        return make_page([QueryFolderRow(record[0]) for record in found], window, BY_PATH)

    async def count_folders(self, under: str | None) -> int:
        return int(await self.value(self._count_folders(), **_bounds(under)))

    async def text_bytes(self) -> int:
        return int(await self.value(self._text_bytes()))

    async def all_under(self, folder: str | None) -> Sequence[SavedQueryRow]:
        """The saved queries in a folder and its subfolders, by folder and name; None for all.

        Raises:
            TooLarge: they have more text than one export.
        """
        found = await self.run_ended(self._all_under(), MAX_EXPORT_BYTES, **_within(folder))
        if found.goes_on:
            raise TooLarge(
                f"The saved queries have more than {MAX_EXPORT_BYTES >> 20} MiB of texts and "
                "parameters, which is the limit of one export.",
                hint="Export one folder at a time.",
                field="folder",
            )
        return rows_of(SavedQueryRow, found.records)

    async def lock_named(self, names: Sequence[tuple[str, str]]) -> Sequence[SavedQueryRow]:
        """Finds and locks the saved queries with these folders and names."""
        folders, wanted = zip(*names, strict=True) if names else ((), ())
        values = {"folder": list(folders), "name": list(wanted)}
        return await self.all(self._lock_named(), **_as_given(values))

    async def add_many(
        self: "SavedQueries[Session]", new: Sequence[tuple[str, str, str, str]]
    ) -> None:
        """Adds saved queries: names, folders, texts and parameters that are checked."""
        columns = dict(zip(_FILE_COLUMNS, map(list, zip(*new, strict=True)), strict=True))
        values: dict[str, Any] = {"id": [new_id() for _ in new]} | columns
        await self.run(self._add_many(), **_as_given(values))

    async def replace_many(
        self: "SavedQueries[Session]", changes: Mapping[UUID, tuple[str, str]]
    ) -> None:
        """Sets texts and parameters that are checked. The caller keeps versions before."""
        texts, parameters = map(list, zip(*changes.values(), strict=True))
        values = {"id": list(changes), "text": texts, "parameters": parameters}
        await self.run(self._replace_many(), **_as_given(values))

    @statement
    def _lock(cls) -> ClauseElement:
        return cls.owned().where(cls.table().c.id == bindparam("id")).with_for_update()

    @statement
    def _page(cls, filters: tuple[str, ...], order: SortOrder, shape: PageShape) -> ClauseElement:
        return cls.select_page(cls._filtered(cls.owned(), filters), order, shape)

    @statement
    def _count(cls, filters: tuple[str, ...]) -> ClauseElement:
        return cls._filtered(cls.owned(func.count()), filters)

    @classmethod
    def _filtered(cls, query: Select[Any], filters: tuple[str, ...]) -> Select[Any]:
        saved = cls.table().c
        conditions = {
            "folder": saved.folder == bindparam("folder"),
            "search": saved.search_text.like(bindparam("search"), escape="\\"),
        }
        return query.where(*(conditions[name] for name in filters))

    @classmethod
    def _levels(cls) -> Any:
        """The folders on the level below `base`, which ends with a slash unless it is empty."""
        folder, base = cls.table().c.folder, bindparam("base", type_=Text())
        rest = func.substr(folder, func.length(base) + 1, type_=Text())
        path = base.concat(func.split_part(rest, "/", 1, type_=Text())).collate("C")
        within = (folder >= bindparam("low", type_=Text()), folder < bindparam("high"))
        return cls.owned(path.label("path")).where(*within).distinct().subquery("levels")

    @statement
    def _folders(cls, shape: PageShape) -> ClauseElement:
        path = cls._levels().c.path
        query = select(path)
        if shape.has_after:
            query = query.where(path > bindparam("after_key"))
        if shape.has_before:
            query = query.where(path < bindparam("before_key"))
        order = path.desc() if shape.backward else path.asc()
        return query.order_by(order).limit(bindparam("limit"))

    @statement
    def _count_folders(cls) -> ClauseElement:
        return select(func.count()).select_from(cls._levels())

    @classmethod
    def _is_within(cls) -> Any:
        folder = cls.table().c.folder
        below = (folder >= bindparam("low", type_=Text())) & (folder < bindparam("high"))
        return or_(folder == bindparam("folder", type_=Text()), below)

    @statement
    def _text_bytes(cls) -> ClauseElement:
        return cls.owned(func.coalesce(func.sum(bytes_in(cls.table().c, cls.long_texts)), 0))

    @statement
    def _all_under(cls) -> ClauseElement:
        found = cls.owned().where(cls._is_within())
        by_name = [("folder", False), ("name", False), ("id", False)]
        return end_after(found, cls.long_texts, by_name, MAX_EXPORT_BYTES)

    @statement
    def _lock_named(cls) -> ClauseElement:
        saved = cls.table().c
        wanted = _given_rows("folder", "name")
        found = cls.owned().where(saved.folder == wanted.folder, saved.name == wanted.name)
        return found.order_by(saved.id).with_for_update(of=cls.table())

    @change_statement
    def _add_many(cls) -> ClauseElement:
        table = cls.table()
        new = _given_rows("id", *_FILE_COLUMNS)
        values = {name: new[name] for name in ("id", *_FILE_COLUMNS)}
        values["owner_id"] = bindparam("owner_id", type_=Uuid())
        return (
            insert(table)
            .from_select(list(values), select(*values.values()), include_defaults=False)
            .returning(table.c.id)
        )

    @change_statement
    def _replace_many(cls) -> ClauseElement:
        saved, new = cls.table().c, _given_rows("id", "text", "parameters")
        values = {"text": new.text, "parameters": new.parameters} | cls.audit_columns()
        return cls.owned_update().where(saved.id == new.id).values(values).returning(saved.id)


def _given_rows(*names: str) -> Any:
    """The columns of rows that are passed as arrays, `given_<name>` for each column."""
    kinds: dict[str, Any] = {name: Uuid() if name == "id" else Text() for name in names}
    arrays: list[Any] = [
        bindparam(f"given_{name}", type_=ARRAY(kind)) for name, kind in kinds.items()
    ]
    columns: list[Any] = [column(name, kind) for name, kind in kinds.items()]
    return func.unnest(*arrays).table_valued(*columns).render_derived(name="given").c


def _as_given(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {f"given_{name}": values for name, values in columns.items()}


_FILE_COLUMNS = ("name", "folder", "text", "parameters")


def checked_fields(fields: Mapping[str, Any], *, new: bool = False) -> dict[str, Any]:
    """The fields as they are stored: null clears a folder, a connection and the parameters."""
    checked = {name: _CHECKS[name](value) for name, value in fields.items()}
    return {"folder": "", "parameters": "[]"} | checked if new else checked


def size_of(fields: Mapping[str, Any]) -> int:
    """The bytes of the texts in the fields of one saved query, which it checks."""
    texts = {name: fields[name] for name in SavedQueries.long_texts if name in fields}
    stored = checked_fields(texts)
    return sum(len(text.encode()) for text in stored.values())


_CHECKS: Mapping[str, Any] = {
    "name": rules.checked_name,
    "folder": rules.checked_folder,
    "text": rules.checked_text,
    "parameters": rules.checked_parameters,
    "connection_id": lambda connection_id: connection_id,
}


def _bounds(under: str | None, *, field: str = "under") -> dict[str, str]:
    """The folders within `under`, or all. A slash is followed by `0` in the order of bytes."""
    folder = "" if under is None else rules.checked_folder(under, field=field)
    if not folder:
        return {"base": "", "low": "\x01", "high": "\U0010ffff"}
    return {"base": f"{folder}/", "low": f"{folder}/", "high": f"{folder}0"}


def _within(folder: str | None) -> dict[str, str]:
    bounds = _bounds(folder, field="folder")
    del bounds["base"]
    return bounds | {"folder": "" if folder is None else rules.checked_folder(folder)}
