"""`ObjectKind`: how objects of one kind are listed and found, in SQL on the system catalogue.

`items` selects (parent, name, id, other columns of the row), so that one statement reads the same
page of many parents. Names sort by bytes (`COLLATE "C"`), because cursors must not depend on a
collation that the server may change.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Generic, Protocol, TypeAlias, TypeVar, get_type_hints
from uuid import UUID

import msgspec

Oid: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""An OID, or what else identifies an object in the catalogue."""

_KEYSET_PAGE = """
SELECT * FROM (
  SELECT item.*, row_number() OVER (
    PARTITION BY parent ORDER BY name {direction}, id {direction}) AS number
  FROM ({items}) AS item
  WHERE ($2::text IS NULL OR (name, id) > ($2::text COLLATE "C", $3::bigint))
    AND ($4::text IS NULL OR (name, id) < ($4::text COLLATE "C", $5::bigint))
) AS page WHERE number <= $6::bigint ORDER BY parent, number
"""


class CatalogueRow(Protocol):
    """A row of any kind. Its fields begin with these; `id` is the OID."""

    @property
    def id(self) -> UUID: ...
    @property
    def connection_id(self) -> UUID: ...
    @property
    def name(self) -> str: ...
    @property
    def key(self) -> tuple[str, ...]:
        """The names that identify the object in its database, from the outermost on."""


R = TypeVar("R", bound=CatalogueRow)


@dataclass(frozen=True, slots=True)
class ObjectKind(Generic[R]):
    """`items` ends with a condition, to which the others are added.

    `of_parents` selects those of the parents $1; `named` those whose key is in $1, $2, ...
    """

    noun: str
    row: type[R]
    items: str
    of_parents: str
    named: str
    order: str = "name"

    @property
    def items_of_parents(self) -> str:
        return f"{self.items} AND {self.of_parents}"

    @property
    def lists(self) -> str:
        """All items of the parents $1, and at most $2 rows."""
        items = self.items_of_parents
        return (
            f"SELECT * FROM ({items}) AS item "  # noqa: S608 - only constants
            f"ORDER BY parent, {self.order}, id LIMIT $2::bigint"
        )

    @property
    def by_key(self) -> str:
        return f"{self.items} AND {self.named}"

    def page(self, *, backward: bool) -> str:
        """One page for each parent.

        Parameters: the parents, the name and ID of the `after` cursor, those of the `before`
        cursor, and the number of rows for each parent.
        """
        direction = "DESC" if backward else "ASC"
        return _KEYSET_PAGE.format(items=self.items_of_parents, direction=direction)

    @property
    def count(self) -> str:
        """Selects (parent, count); a parent without items has no row."""
        items = self.items_of_parents
        return f"SELECT parent, count(*) FROM ({items}) AS item GROUP BY parent"  # noqa: S608 - only constants

    def to_rows(
        self, connection_id: UUID, found: Sequence[Any], *, is_page: bool = False
    ) -> Iterator[tuple[int, R]]:
        """The OID of the parent and the row, for each that a statement has selected.

        Pages have the number of the row as last column. This loop takes half of the CPU time of a
        sidebar: it makes nothing that a row does not need. The check takes 3 % of its time.

        Raises:
            msgspec.ValidationError: The server has not returned what the statement selects.
        """
        row: Any = self.row  # a NamedTuple
        make, width = row._make, len(row._fields)
        for parent, name, oid, *others in msgspec.convert(found, _selected(row, is_page)):
            yield parent, make((UUID(int=oid), connection_id, name, *others)[:width])


@cache
def _selected(row: type, is_page: bool) -> Any:  # noqa: FBT001 - a key of the cache
    """The type of what a statement returns for rows of a kind."""
    _, _, name, *others = get_type_hints(row, include_extras=True).values()
    columns = (Oid, name, Oid, *others, *([int] if is_page else []))
    return list[tuple[columns]]  # type: ignore[valid-type]  # made at run time


V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class ObjectFact(Generic[V]):
    """What `sql` says of the objects $1: it selects (id, value), or (id, fields of the value)."""

    sql: str
    value: Any
    """The type of the value: a NamedTuple, or the type of one column."""

    def to_values(self, found: Sequence[Any]) -> dict[UUID, V]:
        """The values by ID.

        Raises:
            msgspec.ValidationError: The server has not returned what the statement selects.
        """
        fields = get_type_hints(self.value) if hasattr(self.value, "_fields") else {}
        columns = (Oid, *(fields.values() or [self.value]))
        selected: Any = list[tuple[columns]]  # type: ignore[valid-type]  # made at run time
        rows = msgspec.convert(found, selected)
        if fields:
            return {UUID(int=oid): self.value(*values) for oid, *values in rows}
        return {UUID(int=oid): value for oid, value in rows}


def in_keys(*columns: str) -> str:
    """The condition that the columns are one of the keys $1, $2, ..."""
    keys = ", ".join(f"${number}::text[]" for number in range(1, len(columns) + 1))
    return f"({', '.join(columns)}) IN (SELECT * FROM unnest({keys}))"  # noqa: S608 - constants


IS_SHOWN_SCHEMA = "n.nspname !~ '^pg_(toast|temp_)'"
