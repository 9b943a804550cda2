"""Keyset paging: cursors are sort positions, so inserts and deletes do not shift pages."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Integer, Select, bindparam, tuple_

from db.errors import BadInput
from db.kit.lists.partial_rows import Columns

R = TypeVar("R", bound=NamedTuple)
_INT4 = range(-(2**31), 2**31)


class SortOrder(NamedTuple):
    """Sorts by a column that is never null, then by ID, both in the same direction."""

    column: str
    descending: bool = True


class PageShape(NamedTuple):
    """The part of a window that determines the SQL; the rest are bound values."""

    backward: bool = False
    has_after: bool = False
    has_before: bool = False
    columns: Columns | None = None


class Window(NamedTuple):
    """Selects up to `size` rows from one end of a list, between two optional cursors."""

    size: int
    backward: bool = False
    after: str | None = None
    before: str | None = None
    columns: Columns | None = None
    """The columns that the caller reads, besides those of cursors; None for all."""

    @property
    def shape(self) -> PageShape:
        has_after, has_before = self.after is not None, self.before is not None
        return PageShape(self.backward, has_after, has_before, self.columns)


@dataclass(slots=True)
class Page(Generic[R]):
    """Rows in the requested order, and whether more exist on either side."""

    rows: Sequence[R]
    order: SortOrder
    has_next: bool
    has_previous: bool
    keys: Sequence[Any] | None = None
    """The sort keys, if the rows do not contain them."""

    def cursor(self, index: int) -> str:
        row: Any = self.rows[index]
        key = self.keys[index] if self.keys is not None else getattr(row, self.order.column)
        return encode_cursor(self.order, key, row.id)


class CursorPosition(NamedTuple):
    key: Any
    id: UUID


class _Cursor(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    column: str
    key: str | int
    id: UUID


def encode_cursor(order: SortOrder, key: str | int, row_id: UUID) -> str:
    packed = msgspec.json.encode(_Cursor(order.column, key, row_id))
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode_cursor(cursor: str, order: SortOrder, *, kind: type, field: str) -> CursorPosition:
    try:
        packed = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
        opened = msgspec.json.decode(packed, type=_Cursor)
        key = _parse_key(opened.key, kind)
    except (ValueError, OverflowError, binascii.Error, msgspec.DecodeError):
        raise BadInput(
            f"`{field}` is not a cursor of this server.",
            hint="Pass a cursor from `edges { cursor }` or `pageInfo` unchanged.",
            field=field,
        ) from None
    if opened.column != order.column:
        raise BadInput(
            f"`{field}` belongs to a list with another order.",
            hint="Start from the first page when `orderBy` changes.",
            field=field,
        )
    return CursorPosition(key, opened.id)


def _parse_key(key: str | int, kind: type) -> str | int | datetime:
    """Raises ValueError for a key that PostgreSQL does not take: anyone can make a cursor."""
    if isinstance(key, int):
        if kind is not int or key not in _INT4:
            raise ValueError("an integer is expected, of four bytes")
        return key
    if kind is int or "\0" in key:
        raise ValueError("a text is expected that can be stored")
    return _parse_timestamp(key) if kind is datetime else key


def _parse_timestamp(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a timestamp needs a time zone")
    return moment.astimezone(UTC)


def select_page(
    query: Select[Any], order: SortOrder, shape: PageShape, columns: Any
) -> Select[Any]:
    """The statement for one page; `window_values` returns its values."""
    key, row_id = columns[order.column], columns["id"]
    cursors = ((shape.has_after, "after", True), (shape.has_before, "before", False))
    for present, name, follows in cursors:
        if present:
            beyond = order.descending is not follows
            query = query.where(_beyond(key, row_id, name, greater=beyond))
    sorting = page_sorting(order, shape)
    directions = [columns[name].desc() if falls else columns[name].asc() for name, falls in sorting]
    return query.order_by(*directions).limit(bindparam("limit", type_=Integer()))


def page_sorting(order: SortOrder, shape: PageShape) -> list[tuple[str, bool]]:
    """The columns by which a page is sorted, and whether they fall."""
    falls = order.descending is not shape.backward
    return [(order.column, falls), ("id", falls)]


def _beyond(key: Any, row_id: Any, name: str, *, greater: bool) -> ColumnElement[bool]:
    here = tuple_(key, row_id)
    there = tuple_(
        bindparam(f"{name}_key", type_=key.type), bindparam(f"{name}_id", type_=row_id.type)
    )
    return here > there if greater else here < there


def window_values(window: Window, order: SortOrder, *, kind: type) -> dict[str, Any]:
    values: dict[str, Any] = {"limit": window.size + 1}
    for field, cursor in (("after", window.after), ("before", window.before)):
        if cursor is not None:
            place = decode_cursor(cursor, order, kind=kind, field=field)
            values |= {f"{field}_key": place.key, f"{field}_id": place.id}
    return values


def make_page(
    found: Sequence[R],
    window: Window,
    order: SortOrder,
    keys: Sequence[Any] | None = None,
    *,
    goes_on: bool = False,
) -> Page[R]:
    """Builds the page from up to `size` + 1 rows; the extra row shows that more exist.

    `goes_on` if the last row is the extra one, although there are not so many.
    """
    size = min(window.size, len(found) - 1) if goes_on else window.size
    more = len(found) > size
    step = -1 if window.backward else 1
    return Page(
        rows=found[:size][::step],
        order=order,
        has_next=window.before is not None if window.backward else more,
        has_previous=more if window.backward else window.after is not None,
        keys=None if keys is None else keys[:size][::step],
    )
