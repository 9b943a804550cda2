"""Repositories: every statement is restricted to the rows of one owner in one table."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, cast
from uuid import UUID

import asyncpg
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Delete,
    Select,
    Table,
    Update,
    Uuid,
    any_,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.sql import ClauseElement
from typing_extensions import TypeVar

from db.errors import Conflict, Forbidden, HowdahError, NotFound
from db.kit.base import Base, OwnerId, new_id
from db.kit.lists.long_texts import (
    PAGE_BYTES,
    ROWS_BYTES,
    Ended,
    bytes_of,
    end_after,
    ended,
    too_much_text,
)
from db.kit.lists.paging import (
    Page,
    PageShape,
    SortOrder,
    Window,
    make_page,
    page_sorting,
    select_page,
    window_values,
)
from db.kit.lists.partial_rows import Columns, partial_row
from db.kit.lists.rows import Rows, make_rows, rows_of
from db.kit.unscoped import OwnerLookup
from db.postgres.sessions import ReadSession, Session
from db.postgres.statements import Statement, change_statement, statement

R = TypeVar("R", bound=NamedTuple)
S = TypeVar("S", bound=ReadSession, default=Session)
"""The session of a repository: on a ReadSession, mypy refuses the methods that change rows."""


def is_any_of(column: Any, name: str = "ids") -> ColumnElement[bool]:
    return column == any_(bindparam(name, type_=ARRAY(Uuid)))  # type: ignore[no-any-return]  # the column is any table's


class Repository(OwnerLookup, Generic[R, S]):
    """Reads and changes the rows of one owner.

    A subclass declares its model, the row type that it returns, and the error for each constraint.
    A method that changes rows takes `self: "Tasks[Session]"`; mypy requires it.
    """

    model: ClassVar[type[Base]]
    row: ClassVar[type[NamedTuple]]
    noun: ClassVar[str]
    conflicts: ClassVar[Mapping[str, tuple[str, str, str | None]]] = {}
    """Constraint name -> (message, hint, field) of the Conflict raised when it is violated."""

    long_texts: ClassVar[Collection[str]] = ()
    """The columns whose texts may be long: they limit a list (`db.kit.lists.long_texts`)."""

    _make: Callable[[Iterable[Any]], R]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "row" in vars(cls):
            cls._make = staticmethod(make_rows(cast("type[R]", cls.row)))

    def __init__(self, session: S, owner: OwnerId) -> None:
        self.session = session
        self.owner = owner

    # The base of every statement

    @classmethod
    def table(cls) -> Table:
        return cls.model.__table__

    @classmethod
    def columns(cls) -> list[Any]:
        table = cls.table()
        return [table.c[name] for name in cls.row._fields]

    @classmethod
    def is_owned(cls) -> ColumnElement[bool]:
        return cls.table().c.owner_id == bindparam("owner_id")

    @classmethod
    def owned(cls, *columns: Any) -> Select[Any]:
        table = cls.table()  # named, so that a count without the condition reads the table too
        return select(*(columns or cls.columns())).select_from(table).where(cls.is_owned())

    @classmethod
    def owned_update(cls) -> Update:
        return update(cls.table()).where(cls.is_owned())

    @classmethod
    def owned_delete(cls) -> Delete:
        return delete(cls.table()).where(cls.is_owned())

    @classmethod
    def readable(cls, *columns: Any) -> Select[Any]:
        """The base of reads by ID. Subclasses add public rows of other owners."""
        return cls.owned(*columns)

    # Reads and changes

    @statement
    def _by_id(cls) -> ClauseElement:
        return cls.readable().where(cls.table().c.id == bindparam("id"))

    @statement
    def _by_ids(cls) -> ClauseElement:
        found = cls.readable().where(is_any_of(cls.table().c.id))
        texts = cls._texts_of(cls.row)
        return end_after(found, texts, [("id", False)], ROWS_BYTES) if texts else found

    @statement
    def _owned_by_id(cls) -> ClauseElement:
        return cls.owned().where(cls.table().c.id == bindparam("id"))

    @change_statement
    def _insert(cls, names: tuple[str, ...]) -> ClauseElement:
        values: dict[str, Any] = {name: bindparam(name) for name in ("id", "owner_id", *names)}
        return insert(cls.table()).values(values).returning(*cls.columns())

    @change_statement
    def _update(cls, names: tuple[str, ...], versioned: bool) -> ClauseElement:  # noqa: FBT001 - a shape, passed by position
        table = cls.table()
        change = cls.owned_update().where(table.c.id == bindparam("id"))
        if versioned:
            change = change.where(table.c.version == bindparam("expected_version"))
        values = cls.audit_columns()
        for name in names:
            values |= cls.assignments(name)
        return change.values(values).returning(*cls.columns())

    @classmethod
    def assignments(cls, name: str) -> dict[str, Any]:
        """The columns to assign when `name` is set; a subclass adds dependent columns."""
        return {name: bindparam(name, type_=cls.table().c[name].type)}

    @classmethod
    def audit_columns(cls) -> dict[str, Any]:
        """`updated_at` and `version`, if the table has them: every change assigns them."""
        table = cls.table()
        columns: dict[str, Any] = {"updated_at": func.now()} if "updated_at" in table.c else {}
        return columns | ({"version": table.c.version + 1} if "version" in table.c else {})

    @change_statement
    def _delete(cls, versioned: bool) -> ClauseElement:  # noqa: FBT001 - a shape, passed by position
        table = cls.table()
        deletion = cls.owned_delete().where(table.c.id == bindparam("id"))
        if versioned:
            deletion = deletion.where(table.c.version == bindparam("expected_version"))
        return deletion.returning(table.c.id)

    def get(self, row_id: UUID) -> Awaitable[R | None]:
        return self.one(self._by_id(), id=row_id)

    async def require(self, row_id: UUID, *, field: str | None = "id") -> R:
        """Returns a row of the owner; `field` is the input field that errors refer to.

        Raises:
            NotFound: no such row.
            Forbidden: the row belongs to another user.
        """
        return await self.one_or_raise(row_id, self._owned_by_id(), field=field, id=row_id)

    async def get_many(self, ids: Iterable[UUID]) -> Sequence[R]:
        """Raises TooLarge if the rows have too much text."""
        if self._texts_of(self.row):
            found = await self.run_ended(self._by_ids(), ROWS_BYTES, ids=list(ids))
            if found.goes_on:
                raise too_much_text(ROWS_BYTES)
            return rows_of(cast("type[R]", self.row), found.records)
        return await self.all(self._by_ids(), ids=list(ids))

    def add(self: "Repository[R, Session]", **values: Any) -> Awaitable[R]:
        added = self.one(self._insert(tuple(values)), **({"id": new_id()} | values))
        return cast("Awaitable[R]", added)

    async def update(
        self: "Repository[R, Session]",
        row_id: UUID,
        *,
        expected_version: int | None = None,
        **values: Any,
    ) -> R:
        """Sets `values` and keeps the other columns; without values the row stays as it is.

        Raises:
            NotFound: no such row.
            Forbidden: the row belongs to another user.
            Conflict: the row's version is not `expected_version`.
        """
        if not values:
            return await self.require_version(row_id, expected_version)
        change = self._update(tuple(values), expected_version is not None)
        version: dict[str, Any] = (
            {} if expected_version is None else {"expected_version": expected_version}
        )
        return await self.one_or_raise(row_id, change, id=row_id, **version, **values)

    async def require_version(self, row_id: UUID, expected_version: int | None) -> R:
        found = await self.require(row_id)
        self.check_version(found, expected_version)
        return found

    @classmethod
    def check_version(cls, row: R, expected_version: int | None) -> None:
        """Raises Conflict if a version is expected, and the row has another."""
        if expected_version is not None and getattr(row, "version", None) != expected_version:
            raise cls._version_conflict()

    async def remove(
        self: "Repository[R, Session]", row_id: UUID, *, expected_version: int | None = None
    ) -> UUID:
        values: dict[str, Any] = {"id": row_id}
        if expected_version is not None:
            values["expected_version"] = expected_version
        removed = await self.run(self._delete(len(values) > 1), **values)
        if not removed:
            raise await self.missing_row_error(row_id, field="id")
        return row_id

    # For subclasses

    @classmethod
    def select_page(cls, query: Select[Any], order: SortOrder, shape: PageShape) -> Select[Any]:
        """The statement for one page; a sort key that the row lacks is added as last column."""
        page = cls.select_whole_page(query, order, shape)
        texts = cls._texts_of(cls.page_row(shape.columns, order))
        return end_after(page, texts, page_sorting(order, shape), PAGE_BYTES) if texts else page

    @classmethod
    def select_whole_page(
        cls, query: Select[Any], order: SortOrder, shape: PageShape
    ) -> Select[Any]:
        """The same, whatever the size of its texts."""
        columns = cls.table().c
        read = cls.page_row(shape.columns, order)._fields
        if len(read) < len(cls.row._fields):
            named = zip(cls.row._fields, cls.columns(), strict=True)
            query = query.with_only_columns(*(column for name, column in named if name in read))
        if not cls._row_has_sort_key(order):
            query = query.add_columns(columns[order.column])
        return select_page(query, order, shape, columns)

    async def fetch_page(
        self, query: Statement[S], window: Window, order: SortOrder, /, **values: Any
    ) -> Page[R]:
        kind = self.table().c[order.column].type.python_type
        values |= window_values(window, order, kind=kind)
        row = self.page_row(window.columns, order)
        keys, goes_on = None, False
        if self._texts_of(row):
            found, goes_on = await self.run_ended(query, PAGE_BYTES, **values)
        else:
            found = await self.run(query, **values)
        if not self._row_has_sort_key(order):
            found, keys = [record[:-1] for record in found], [record[-1] for record in found]
        return make_page(Rows(row, found), window, order, keys, goes_on=goes_on)

    @classmethod
    def page_row(cls, columns: Columns | None, order: SortOrder) -> type[R]:
        """The class of the rows of a page, which has the columns of cursors in any case."""
        row = cast("type[R]", cls.row)
        return (
            row if columns is None else partial_row(row, frozenset((*columns, "id", order.column)))
        )

    @classmethod
    def _texts_of(cls, row: type[NamedTuple]) -> list[str]:
        return [name for name in row._fields if name in cls.long_texts]

    @classmethod
    def _row_has_sort_key(cls, order: SortOrder) -> bool:
        return order.column in cls.row._fields

    async def run_ended(self, query: Statement[S], most: int, /, **values: Any) -> Ended:
        """Runs a statement of `end_after` within the budget of the operation, if it has one."""
        if (budget_of := self.session.text_budget) is None:
            return ended(await self.run(query, **values), most)
        return ended(await budget_of().spend(lambda: self.run(query, **values), bytes_of), most)

    async def all(self, query: Statement[S], /, **values: Any) -> Sequence[R]:
        return rows_of(cast("type[R]", self.row), await self.run(query, **values))

    async def one(self, query: Statement[S], /, **values: Any) -> R | None:
        found = await self.run(query, **values)
        return self._make(found[0]) if found else None

    async def value(self, query: Statement[S], /, **values: Any) -> Any:
        """The first column of the first row, or None."""
        found = await self.run(query, **values)
        return found[0][0] if found else None

    async def one_or_raise(
        self, row_id: UUID, query: Statement[S], /, *, field: str | None = "id", **values: Any
    ) -> R:
        """Like `one`, for the row with this ID: raises `missing_row_error` if there is none."""
        found = await self.one(query, **values)
        if found is None:
            raise await self.missing_row_error(row_id, field=field)
        return found

    async def missing_row_error(self, row_id: UUID, *, field: str | None = None) -> HowdahError:
        """Explains why a statement matched no row; `field` is the input field with the ID."""
        owner = await self.session.value(self._owner_of(), id=row_id, owner_id=self.owner)
        if owner is None:
            return NotFound(
                f"This {self.noun} does not exist.",
                hint="It may have been deleted; read the list again.",
                field=field,
            )
        if owner != self.owner:
            return Forbidden(
                f"This {self.noun} belongs to another user.",
                hint="Sign in as its owner.",
                field=field,
            )
        return self._version_conflict()

    @classmethod
    def _version_conflict(cls) -> Conflict:
        return Conflict(
            f"This {cls.noun} has changed since it was read.",
            hint="Read it again, then send the change with its current `version`.",
            field="expectedVersion",
        )

    def run(self, query: Statement[S], /, **values: Any) -> Awaitable[Sequence[Any]]:
        """Runs a statement with the owner bound; raises Conflict for a violated constraint."""
        rows = self.session.rows(query, owner_id=self.owner, **values)
        return self._explain_conflicts(rows) if query.changes else rows

    async def _explain_conflicts(self, rows: Awaitable[Sequence[Any]]) -> Sequence[Any]:
        try:
            return await rows
        except asyncpg.IntegrityConstraintViolationError as error:
            conflict = self.conflicts.get(error.constraint_name or "")
            if conflict is None:
                raise
            message, hint, field = conflict
            raise Conflict(message, hint=hint, field=field) from error
