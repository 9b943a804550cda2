"""Rows of a page that have only the columns that its caller reads."""

from collections import namedtuple
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn, TypeAlias, TypeVar, cast

R = TypeVar("R", bound=NamedTuple)

Columns: TypeAlias = tuple[str, ...]
"""Names of fields of a row, in its order."""


class _NotRead:
    """The attribute of a column that was not selected."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, row: object, owner: type | None = None) -> NoReturn:
        raise AttributeError(f"the column {self._name!r} was not selected", name=self._name)


@lru_cache(maxsize=256)
def partial_row(row: type[R], names: frozenset[str]) -> type[R]:
    """A subclass of `row` whose instances hold the named columns; others raise AttributeError."""
    columns = tuple(name for name in row._fields if name in names)
    if columns == row._fields:
        return row
    # `whole` keeps the class, whose attributes are gone as soon as it is collected as garbage.
    held = vars(whole := namedtuple(row.__name__, columns))  # noqa: F841, PYI024 - the columns are not known before
    attributes = {name: held.get(name, _NotRead(name)) for name in row._fields}
    body: dict[str, Any] = {**attributes, "_fields": columns, "__slots__": ()}
    return cast("type[R]", type(row.__name__, (row,), body))
