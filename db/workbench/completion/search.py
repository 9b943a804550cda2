"""`search_catalogue`, which finds the objects of a database by prefix and by part of their name."""

import heapq
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from db.errors import BadInput
from db.workbench.catalogue.snapshot import SnapshotFunction, SnapshotRelation, SnapshotType
from db.workbench.completion.catalogue_index import SYSTEM_SCHEMAS, CatalogueIndex, ColumnOf
from db.workbench.completion.names import MatchKind, NameTable, fold
from db.workbench.completion.results import SearchKind, SearchResult

MAX_SEARCH_CHARS = 200
MAX_MATCHES = 500
"""Matches of each kind of object and of match; those beyond are not ranked."""


_RELATION_KINDS = {
    "r": SearchKind.TABLE,
    "p": SearchKind.TABLE,
    "v": SearchKind.VIEW,
    "m": SearchKind.MATERIALIZED_VIEW,
    "f": SearchKind.FOREIGN_TABLE,
    "S": SearchKind.SEQUENCE,
}
_FUNCTION_KINDS = {"p": SearchKind.PROCEDURE, "a": SearchKind.AGGREGATE}
_RELATIONS = frozenset(_RELATION_KINDS.values()) - {SearchKind.SEQUENCE}
_ROUTINES = frozenset((SearchKind.FUNCTION, SearchKind.PROCEDURE, SearchKind.AGGREGATE))
_ORDER = {kind: place for place, kind in enumerate(SearchKind)}
_Ranked = tuple[tuple[Any, ...], SearchResult]


def search_catalogue(
    index: CatalogueIndex, text: str, kinds: Collection[SearchKind], first: int
) -> list[SearchResult]:
    """The best matches: exact ones, prefixes, beginnings of words, then other parts of names.

    `schema.part` and `table.part` search in one schema or table. An empty `kinds` means all. The
    objects of PostgreSQL come last.

    Raises:
        BadInput: The text is empty or too long.
    """
    typed = fold(text.strip())
    if not typed or len(typed) > MAX_SEARCH_CHARS:
        raise BadInput(
            f"`text` has {len(typed)} characters, but 1 to {MAX_SEARCH_CHARS} are allowed.",
            hint="Pass a part of a name.",
            field="text",
        )
    wanted = frozenset(kinds) or frozenset(SearchKind)
    container, _, part = typed.rpartition(".")
    found = itertools.chain(
        _ranked(index, typed, "", wanted),
        _ranked(index, part, container, wanted) if container else (),
    )
    best = heapq.nsmallest(first, found, key=lambda each: each[0])
    return list(dict.fromkeys(result for _, result in best))


def _ranked(
    index: CatalogueIndex, typed: str, container: str, wanted: frozenset[SearchKind]
) -> Iterator[_Ranked]:
    """Each match with its rank, in any order."""
    for match, result in _matches(index, typed, wanted):
        if container and fold(result.parent or result.schema_name) != container:
            continue
        if result.kind in wanted:
            is_system = result.schema_name in SYSTEM_SCHEMAS
            order = _ORDER[result.kind]
            rank = (is_system, match, order, len(result.name), *result[1:4])
            yield tuple("" if one is None else one for one in rank), result


def _matches(
    index: CatalogueIndex, typed: str, wanted: frozenset[SearchKind]
) -> Iterator[tuple[MatchKind, SearchResult]]:
    readers: Iterable[tuple[frozenset[SearchKind], Callable[[], NameTable[Any]], _Describe]] = (
        (frozenset((SearchKind.SCHEMA,)), lambda: index.schemas, _schema),
        (_RELATIONS, lambda: index.relations, _relation),
        (frozenset((SearchKind.SEQUENCE,)), lambda: index.sequences, _relation),
        (frozenset((SearchKind.COLUMN,)), lambda: index.columns, _column),
        (_ROUTINES, lambda: index.routines, _function),
        (frozenset((SearchKind.TYPE,)), lambda: index.types, _type),
    )
    for kinds, names, describe in readers:
        if kinds & wanted:
            for match, one in names().find(typed, MAX_MATCHES):
                yield match, describe(one)


_Describe = Callable[[Any], SearchResult]


def _schema(name: str) -> SearchResult:
    return SearchResult(SearchKind.SCHEMA, name, name, key=(name,))


def _relation(one: SnapshotRelation) -> SearchResult:
    return SearchResult(
        _RELATION_KINDS[one.kind], one.schema, one.name, None, None, one.comment, _key(one)
    )


def _column(one: ColumnOf) -> SearchResult:
    column, relation = one.column, one.relation
    return SearchResult(
        *(SearchKind.COLUMN, relation.schema, column.name, relation.name),
        *(column.type, column.comment, (*_key(relation), column.name)),
    )


def _function(one: SnapshotFunction) -> SearchResult:
    kind = _FUNCTION_KINDS.get(one.kind, SearchKind.FUNCTION)
    result = f" {one.result}" if one.result else ""
    detail = f"({one.arguments}){result}"
    key = (one.schema, f"{one.name}({one.input_types})")
    return SearchResult(kind, one.schema, one.name, None, detail, one.comment, key)


def _type(one: SnapshotType) -> SearchResult:
    detail = ", ".join(one.labels) or None
    return SearchResult(SearchKind.TYPE, one.schema, one.name, None, detail, one.comment, _key(one))


def _key(one: SnapshotRelation | SnapshotType) -> tuple[str, ...]:
    return one.schema, one.name
