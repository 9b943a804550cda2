"""`CatalogueSnapshot`: what completion and search need of a whole database, read at once."""

import asyncio
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec

from db.workbench.catalogue import snapshot_sql
from db.workbench.catalogue.fetching import Fetch

_BYTES_OF_OBJECT = 150
"""The memory of an object or a column besides its text: 130 to 170 by tracemalloc."""

S = TypeVar("S", bound="_Part")
RelationKind: TypeAlias = Literal["r", "p", "v", "m", "f", "S"]


class _Part(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The statements select each object as a JSON array of the fields in their order.

    `gc=False`: the cyclic collector would visit each of 50,000 columns, which form no cycle.
    """


class SnapshotSchema(_Part, frozen=True, array_like=True, gc=False):
    oid: int
    name: str
    comment: str | None


class SnapshotColumn(_Part, frozen=True, array_like=True, gc=False):
    name: str
    type: str
    comment: str | None


class SnapshotRelation(_Part, frozen=True, array_like=True, gc=False):
    """`kind` is `pg_class.relkind`. A sequence has no columns."""

    oid: int
    schema: str
    name: str
    kind: RelationKind
    comment: str | None
    columns: tuple[SnapshotColumn, ...]


class SnapshotFunction(_Part, frozen=True, array_like=True, gc=False):
    """`kind` is `pg_proc.prokind`; `result` is empty for a procedure."""

    oid: int
    schema: str
    name: str
    kind: str
    arguments: str
    result: str
    comment: str | None
    input_types: str = ""
    """The types of its input arguments: with the name its `FunctionRow.signature`."""


class SnapshotType(_Part, frozen=True, array_like=True, gc=False):
    """`kind` is `pg_type.typtype`; `labels` are those of an enum in their order."""

    oid: int
    schema: str
    name: str
    kind: str
    labels: tuple[str, ...]
    comment: str | None


class CatalogueSnapshot(msgspec.Struct, frozen=True, kw_only=True, weakref=True):
    """The catalogue of one database as its role sees it, system schemas included.

    All objects are in the order of their schema and name, by bytes. TOAST and temporary schemas,
    array types and the row types of tables are omitted.
    """

    server_version: int
    """Such as 170004."""
    search_path: tuple[str, ...]
    """The schemas that are searched in their order, with `pg_catalog` where it is searched."""
    schemas: tuple[SnapshotSchema, ...]
    relations: tuple[SnapshotRelation, ...]
    """Tables, views, materialized views and foreign tables."""
    sequences: tuple[SnapshotRelation, ...]
    functions: tuple[SnapshotFunction, ...]
    types: tuple[SnapshotType, ...]
    keywords: tuple[tuple[str, str], ...]
    """Each word in lower case with its category, the `catcode` of `pg_get_keywords()`."""
    is_complete: bool
    """False if the database has more objects or columns than a snapshot may have."""


class ReadSnapshot(NamedTuple):
    """A snapshot and its approximate size in memory."""

    snapshot: CatalogueSnapshot
    size: int


class _Rows(NamedTuple):
    """The rows of each statement: one JSON array for each object."""

    schemas: Sequence[Any]
    relations: Sequence[Any]
    functions: Sequence[Any]
    types: Sequence[Any]

    @property
    def size(self) -> int:
        return sum(len(row[0]) for rows in self for row in rows)


async def read_snapshot(fetch: Fetch) -> ReadSnapshot:
    """Reads a snapshot with six statements, whatever the number of objects."""
    ((version, search_path, attributes),) = msgspec.convert(
        await fetch(snapshot_sql.SETTINGS, ()), list[tuple[int, tuple[str, ...], int]]
    )
    keywords = msgspec.convert(await fetch(snapshot_sql.KEYWORDS, ()), tuple[tuple[str, str], ...])
    rows = _Rows(
        await fetch(snapshot_sql.SCHEMAS, ()),
        await fetch(snapshot_sql.RELATIONS, ()),
        await fetch(snapshot_sql.FUNCTIONS, ()),
        await fetch(snapshot_sql.TYPES, ()),
    )
    # In a thread, so that a large catalogue does not hold up the requests of others.
    return await asyncio.to_thread(_make_snapshot, rows, version, search_path, keywords, attributes)


def _make_snapshot(
    rows: _Rows,
    version: int,
    search_path: tuple[str, ...],
    keywords: tuple[tuple[str, str], ...],
    attributes: int,
) -> ReadSnapshot:
    relations = _decode(SnapshotRelation, rows.relations)
    count = sum(map(len, rows)) + sum(len(relation.columns) for relation in relations)
    snapshot = CatalogueSnapshot(
        server_version=version,
        search_path=search_path,
        schemas=_decode(SnapshotSchema, rows.schemas),
        relations=tuple(each for each in relations if each.kind != "S"),
        sequences=tuple(each for each in relations if each.kind == "S"),
        functions=_decode(SnapshotFunction, rows.functions),
        types=_decode(SnapshotType, rows.types),
        keywords=keywords,
        is_complete=attributes <= snapshot_sql.MAX_SNAPSHOT_COLUMNS
        and max(map(len, rows)) < snapshot_sql.MAX_SNAPSHOT_OBJECTS,
    )
    return ReadSnapshot(snapshot, rows.size + count * _BYTES_OF_OBJECT)


def _decode(kind: type[S], rows: Sequence[Any]) -> tuple[S, ...]:
    decode = msgspec.json.Decoder(kind).decode
    return tuple(decode(row[0]) for row in rows)
