"""`CatalogueIndex`: one snapshot of a catalogue, arranged for completion and search."""

import itertools
import weakref
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import NamedTuple, TypeVar

from db.workbench.catalogue.snapshot import (
    CatalogueSnapshot,
    SnapshotColumn,
    SnapshotFunction,
    SnapshotRelation,
    SnapshotType,
)
from db.workbench.completion.names import NameTable
from db.workbench.sql.quoting import quote_if_needed

Named = TypeVar("Named", bound=SnapshotRelation | SnapshotFunction | SnapshotType)

SYSTEM_SCHEMAS = frozenset(("pg_catalog", "information_schema"))
_INTERNAL_TYPES = frozenset(
    ("internal", "cstring", "pg_ddl_command", "fdw_handler", "table_am_handler", "tsm_handler")
)
_UNRESERVED = "U"
_WARM = frozenset(("relations", "functions", "row_functions", "types", "schemas"))
_TRIGGERS = frozenset(("trigger", "event_trigger"))


class ColumnOf(NamedTuple):
    """A column with the relation that has it."""

    relation: SnapshotRelation
    column: SnapshotColumn


class CatalogueIndex:
    """Everything is arranged when it is first needed, and kept as long as the snapshot."""

    def __init__(self, snapshot: CatalogueSnapshot) -> None:
        self.snapshot_schemas = snapshot.schemas
        self._relations = snapshot.relations
        self._sequences = snapshot.sequences
        self._functions = snapshot.functions
        self._types = snapshot.types
        self.search_path = snapshot.search_path
        self.keywords = frozenset(word.upper() for word, _ in snapshot.keywords)
        self._reserved = frozenset(
            word for word, category in snapshot.keywords if category != _UNRESERVED
        )

    @property
    def is_warm(self) -> bool:
        """Whether the parts that completion needs are arranged: 5,000 tables take 50 ms."""
        return vars(self).keys() >= _WARM

    @property
    def object_count(self) -> int:
        """What a completion may look at: with 100,000 it takes up to 400 ms."""
        return len(self._relations) + len(self._functions) + len(self._types)

    def warm(self) -> None:
        """Arranges what most completions need."""
        for part in _WARM:
            getattr(self, part)

    def quote(self, name: str) -> str:
        """The name as it is written in a statement: quoted if it must be."""
        return quote_if_needed(name, self._reserved)

    @cached_property
    def relations(self) -> "SchemaObjects[SnapshotRelation]":
        return SchemaObjects(self._relations, self.search_path)

    @cached_property
    def views(self) -> "SchemaObjects[SnapshotRelation]":
        return SchemaObjects((one for one in self._relations if one.kind == "v"), self.search_path)

    @cached_property
    def materialized_views(self) -> "SchemaObjects[SnapshotRelation]":
        return SchemaObjects((one for one in self._relations if one.kind == "m"), self.search_path)

    @cached_property
    def sequences(self) -> "SchemaObjects[SnapshotRelation]":
        return SchemaObjects(self._sequences, self.search_path)

    @cached_property
    def routines(self) -> "SchemaObjects[SnapshotFunction]":
        """Functions and procedures, without those that only PostgreSQL itself can call."""
        return self._routines(lambda one: not _is_internal(one))

    @cached_property
    def functions(self) -> "SchemaObjects[SnapshotFunction]":
        return self._routines(
            lambda one: one.kind != "p" and one.result not in _TRIGGERS and not _is_internal(one)
        )

    @cached_property
    def row_functions(self) -> "SchemaObjects[SnapshotFunction]":
        return self._routines(
            lambda one: one.result.startswith(("SETOF ", "TABLE(")) and not _is_internal(one)
        )

    @cached_property
    def trigger_functions(self) -> "SchemaObjects[SnapshotFunction]":
        return self._routines(lambda one: one.result in _TRIGGERS)

    @cached_property
    def procedures(self) -> "SchemaObjects[SnapshotFunction]":
        return self._routines(lambda one: one.kind == "p")

    @cached_property
    def types(self) -> "SchemaObjects[SnapshotType]":
        return SchemaObjects(self._types, self.search_path)

    def _routines(
        self, is_one: Callable[[SnapshotFunction], bool]
    ) -> "SchemaObjects[SnapshotFunction]":
        found = filter(is_one, self._functions)
        return SchemaObjects(found, self.search_path, have_overloads=True)

    @cached_property
    def schemas(self) -> "NameTable[str]":
        return NameTable([(schema.name, schema.name) for schema in self.snapshot_schemas])

    @cached_property
    def columns(self) -> "NameTable[ColumnOf]":
        pairs = (
            ColumnOf(relation, column)
            for relation in self._relations
            for column in relation.columns
        )
        return NameTable([(pair.column.name, pair) for pair in pairs])


class SchemaObjects(NameTable[Named]):
    """The objects of one kind by schema and name, and by their place in the search path."""

    def __init__(
        self,
        objects: Iterable[Named],
        search_path: tuple[str, ...],
        *,
        have_overloads: bool = False,
    ) -> None:
        found = list(objects)
        super().__init__([(one.name, one) for one in found])
        self._search_path = search_path
        self._schema_names: dict[str, NameTable[Named]] = {}
        self.by_schema: dict[str, dict[str, list[Named]]] = {}
        for one in found:
            self.by_schema.setdefault(one.schema, {}).setdefault(one.name, []).append(one)
        order = {schema: place for place, schema in enumerate(search_path)}
        visible: dict[str, str] = {}
        in_path: list[Named] = []
        elsewhere: list[Named] = []
        system: list[Named] = []
        found.sort(key=lambda one: (order.get(one.schema, len(order)), one.name))
        for one in found:
            is_visible = one.schema in order and (
                have_overloads or visible.setdefault(one.name, one.schema) == one.schema
            )
            if one.schema in SYSTEM_SCHEMAS:
                system.append(one)
            else:
                (in_path if is_visible else elsewhere).append(one)
        self.path_names: NameTable[Named] = NameTable([(one.name, one) for one in in_path])
        self.other_names: NameTable[Named] = NameTable([(one.name, one) for one in elsewhere])
        self.system_names: NameTable[Named] = NameTable([(one.name, one) for one in system])
        self._visible = visible
        self._have_overloads = have_overloads

    def is_visible(self, one: Named) -> bool:
        """Whether the object is meant by its name without its schema."""
        if self._have_overloads:
            return one.schema in self._search_path
        return self._visible.get(one.name) == one.schema

    def of_schema(self, schema: str) -> NameTable[Named]:
        """The objects of one schema, arranged when they are first needed."""
        if (found := self._schema_names.get(schema)) is None:
            objects = itertools.chain.from_iterable(self.by_schema.get(schema, {}).values())
            found = NameTable([(one.name, one) for one in objects])
            if schema in self.by_schema:
                self._schema_names[schema] = found
        return found

    def lookup(self, path: tuple[str, ...]) -> list[Named]:
        """The objects that a name with or without its schema means; several for overloads."""
        if len(path) >= 2:
            return self.by_schema.get(path[-2], {}).get(path[-1], [])
        for schema in self._search_path if path else ():
            if found := self.by_schema.get(schema, {}).get(path[-1]):
                return found
        return []


def index_of(snapshot: CatalogueSnapshot) -> CatalogueIndex:
    """The index of a snapshot, which is kept as long as the snapshot itself."""
    key = id(snapshot)
    if (found := _INDEXES.get(key)) is None:
        found = _INDEXES[key] = CatalogueIndex(snapshot)
        weakref.finalize(snapshot, _INDEXES.pop, key, None)
    return found


_INDEXES: dict[int, CatalogueIndex] = {}


def _is_internal(function: SnapshotFunction) -> bool:
    if function.schema != "pg_catalog":
        return False
    types = f"{function.arguments} {function.result}".replace(",", " ").split()
    return not _INTERNAL_TYPES.isdisjoint(types)
