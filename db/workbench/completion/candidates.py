"""`Candidate`, and how the objects of a catalogue become candidates."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from db.workbench.catalogue.snapshot import SnapshotFunction, SnapshotRelation, SnapshotType
from db.workbench.completion.catalogue_index import SYSTEM_SCHEMAS, CatalogueIndex, SchemaObjects
from db.workbench.completion.expectations.expected import Offer
from db.workbench.completion.names import MatchKind
from db.workbench.completion.results import CompletionKind


class Candidate(NamedTuple):
    kind: CompletionKind
    label: str
    insert: str
    match: MatchKind
    rank: tuple[int, ...]
    """Decides between candidates with the same `match`; the smaller is the better."""
    detail: str | None = None


Named = TypeVar("Named", bound=SnapshotRelation | SnapshotFunction | SnapshotType)
Describe = Callable[[Named], tuple[CompletionKind, str, str]]
"""The kind of an object, what its name is followed by in a label, and its detail."""

_RELATION_KINDS = {"v": CompletionKind.VIEW, "m": CompletionKind.VIEW, "S": CompletionKind.SEQUENCE}
_RELATION_DETAILS = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
    "S": "sequence",
}
_TYPE_DETAILS = {"e": "enum", "d": "domain", "c": "composite type", "r": "range type"}
_PROCEDURE = "p"
IN_PATH, ELSEWHERE, SYSTEM = range(3)


class CatalogueCandidates:
    """Finds objects of the catalogue. `typed` is folded, `limit` is of each kind of match."""

    def __init__(
        self, index: CatalogueIndex, typed: str, limit: int, quote: Callable[[str], str]
    ) -> None:
        self._index = index
        self._quote = quote
        self._typed = typed
        self._limit = limit

    def of(self, offer: Offer, group: int) -> Iterator[Candidate]:
        """The objects without a schema: those in the search path first."""
        if offer is Offer.SCHEMAS:
            yield from self._schemas(group)
        elif offer in _STORED:
            attribute, describe = _STORED[offer]
            objects: SchemaObjects[Any] = getattr(self._index, attribute)
            tables = [(IN_PATH, objects.path_names), (ELSEWHERE, objects.other_names)]
            if self._typed or describe is _describe_relation:
                tables.append((SYSTEM, objects.system_names))
            for place, names in tables:
                for match, one in names.find(self._typed, self._limit):
                    qualifier = "" if objects.is_visible(one) else one.schema
                    yield self._candidate(one, describe, match, (group, place), qualifier)

    def in_schema(self, offer: Offer, schema: str, group: int) -> Iterator[Candidate]:
        """The objects after `schema.`."""
        if offer in _STORED:
            attribute, describe = _STORED[offer]
            names = getattr(self._index, attribute).of_schema(schema)
            for match, one in names.find(self._typed, self._limit):
                yield self._candidate(one, describe, match, (group,), "")

    def _candidate(
        self,
        one: Named,
        describe: Describe[Named],
        match: MatchKind,
        rank: tuple[int, ...],
        qualifier: str,
    ) -> Candidate:
        kind, suffix, detail = describe(one)
        insert, label = self._quote(one.name), one.name
        if qualifier:
            insert, label = f"{self._quote(qualifier)}.{insert}", f"{qualifier}.{label}"
        if kind in {CompletionKind.FUNCTION, CompletionKind.PROCEDURE}:
            insert += "()" if suffix == "()" else "("
        return Candidate(kind, label + suffix, insert, match, rank, detail or None)

    def _schemas(self, group: int) -> Iterator[Candidate]:
        for match, name in self._index.schemas.find(self._typed, self._limit):
            place = SYSTEM if name in SYSTEM_SCHEMAS else IN_PATH
            insert = self._quote(name)
            yield Candidate(CompletionKind.SCHEMA, name, insert, match, (group, place), "schema")


def _describe_relation(one: SnapshotRelation) -> tuple[CompletionKind, str, str]:
    detail = _RELATION_DETAILS.get(one.kind, "")
    return _RELATION_KINDS.get(one.kind, CompletionKind.TABLE), "", detail


def _describe_function(one: SnapshotFunction) -> tuple[CompletionKind, str, str]:
    is_procedure = one.kind == _PROCEDURE
    kind = CompletionKind.PROCEDURE if is_procedure else CompletionKind.FUNCTION
    return kind, f"({one.arguments})", one.result


def _describe_type(one: SnapshotType) -> tuple[CompletionKind, str, str]:
    return CompletionKind.TYPE, "", _TYPE_DETAILS.get(one.kind, "type")


_STORED: Mapping[Offer, tuple[str, Describe[Any]]] = {
    Offer.RELATIONS: ("relations", _describe_relation),
    Offer.VIEWS: ("views", _describe_relation),
    Offer.MATERIALIZED_VIEWS: ("materialized_views", _describe_relation),
    Offer.SEQUENCES: ("sequences", _describe_relation),
    Offer.FUNCTIONS: ("functions", _describe_function),
    Offer.ROW_FUNCTIONS: ("row_functions", _describe_function),
    Offer.TRIGGER_FUNCTIONS: ("trigger_functions", _describe_function),
    Offer.PROCEDURES: ("procedures", _describe_function),
    Offer.ROUTINES: ("routines", _describe_function),
    Offer.TYPES: ("types", _describe_type),
}
"""The attribute of `CatalogueIndex` with the objects of each kind."""
