"""Compiles the selections of an operation to functions."""

from typing import Any

from graphql import GraphQLObjectType, GraphQLOutputType, GraphQLSchema
from graphql.execution.collect_fields import (
    FieldDetailsList,
    FragmentDetails,
    GroupedFieldSet,
    collect_fields,
    collect_subfields,
)
from graphql.execution.values import VariableValues
from graphql.type import (
    get_nullable_type,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
    is_object_type,
)

from graph.executor.compile.codegen import (
    FieldCode,
    Part,
    RecordsBuilder,
    Typename,
    batched_rows,
    object_builder,
    rows_builder,
)
from graph.executor.compile.strawberry_adapter import field_access, has_long_result, many_resolver
from graph.executor.document import Operation
from graph.executor.execute.completion import (
    Build,
    Complete,
    abstract,
    counted,
    error_handler,
    leaf,
    null_handler,
    object_,
    with_errors_handled,
)
from graph.executor.execute.lists import Items, each_by, list_of
from graph.executor.execute.run import Field, Path, Run
from graph.executor.hints import accepted_by


class Compiler:
    """Compiles one operation for one combination of its @skip and @include conditions.

    The compiled functions keep a reference to it: selections on an abstract type are compiled when
    an object type first occurs, so that the plan grows with the types in the data.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        operation: Operation,
        conditions: VariableValues,
        *,
        hide_suggestions: bool,
    ) -> None:
        self._schema = schema
        self._operation = operation
        self._conditions = conditions
        self._hide_suggestions = hide_suggestions
        self._fragments = {
            name: FragmentDetails(node) for name, node in operation.fragments.items()
        }
        # By type and nodes, so that fragments spread in several places are compiled once.
        self._parts_of: dict[tuple[str, tuple[int, ...]], list[Part]] = {}
        self._builders: dict[tuple[str, tuple[int, ...]], Build] = {}

    def steps(self, type_: GraphQLObjectType, *, serial: bool) -> list[Build]:
        """Functions that build the root fields; they run in sequence."""
        fields = self._root_fields(type_)
        groups = [{key: details} for key, details in fields.items()] if serial else [fields]
        return [object_builder(type_.name, self._parts(type_, group)) for group in groups]

    def first_field(self, type_: GraphQLObjectType) -> Field | None:
        """The root field of a subscription."""
        key, details = next(iter(self._root_fields(type_).items()))
        return self._field(type_, key, details)

    def _root_fields(self, type_: GraphQLObjectType) -> GroupedFieldSet:
        return collect_fields(
            self._schema,
            self._fragments,
            self._conditions,
            type_,
            self._operation.definition,
            self._hide_suggestions,
        ).grouped_field_set

    def _object(self, type_: GraphQLObjectType, details: FieldDetailsList) -> Build:
        key = _key(type_, details)
        builder = self._builders.get(key)
        if builder is None:
            parts = self._parts_below(type_, details)
            builder = self._builders[key] = object_builder(type_.name, parts)
        return builder

    def _parts_below(self, type_: GraphQLObjectType, details: FieldDetailsList) -> list[Part]:
        key = _key(type_, details)
        parts = self._parts_of.get(key)
        if parts is None:
            fields = collect_subfields(
                self._schema,
                self._fragments,
                self._conditions,
                self._operation.definition,
                type_,
                details,
                self._hide_suggestions,
            ).grouped_field_set
            parts = self._parts_of[key] = self._parts(type_, fields)
        return parts

    def _parts(self, type_: GraphQLObjectType, fields: GroupedFieldSet) -> list[Part]:
        parts = [self._part(type_, key, details) for key, details in fields.items()]
        return [part for part in parts if part is not None]

    def _part(self, parent: GraphQLObjectType, key: str, details: FieldDetailsList) -> Part | None:
        if details[0].node.name.value == "__typename":
            return Typename(key)
        field = self._field(parent, key, details)
        if field is None:
            return None
        type_ = field.definition.type
        fail = error_handler(type_, field.nodes)
        complete = self._complete(type_, field)
        if has_long_result(field):
            complete = counted(complete)
        complete = with_errors_handled(complete, fail)
        access = field_access(field, hide_suggestions=self._hide_suggestions)
        return FieldCode(key, type_, access, complete, fail, many_resolver(field))

    def _field(
        self, parent: GraphQLObjectType, key: str, details: FieldDetailsList
    ) -> Field | None:
        nodes = [detail.node for detail in details]
        definition = self._schema.get_field(parent, nodes[0].name.value)
        if definition is None:
            return None  # unvalidated document: graphql-core omits the field too
        return Field(key, definition, parent, details, nodes, self._schema, self._operation)

    def _complete(self, type_: GraphQLOutputType, field: Field) -> Complete:
        null = null_handler(type_, field)
        nullable = get_nullable_type(type_)
        if is_list_type(nullable):
            return list_of(self._items(nullable.of_type, field), field, null)
        if is_leaf_type(nullable):
            return leaf(nullable, null)

        def complete_as(object_type: GraphQLObjectType) -> Complete:
            return object_(object_type, self._object(object_type, field.details), field, null)

        if is_abstract_type(nullable):
            return abstract(nullable, complete_as, field, null)
        assert is_object_type(nullable)  # noqa: S101 - no other output type is left
        return complete_as(nullable)

    def _items(self, item_type: GraphQLOutputType, field: Field) -> Items:
        fail = error_handler(item_type, field.nodes)
        type_ = get_nullable_type(item_type)
        row = accepted_by(type_.is_type_of) if is_object_type(type_) else None
        if row is None:
            complete_value = with_errors_handled(self._complete(item_type, field), fail)
            return Items(complete_value, each_by(complete_value, fail), fail)
        assert is_object_type(type_)  # noqa: S101 - only these have `is_type_of`

        def build_other(source: Any, path: Path | None, run: Run) -> Any:
            return self._object(type_, field.details)(source, path, run)

        null = null_handler(item_type, field)
        complete_value = with_errors_handled(object_(type_, build_other, field, null), fail)
        parts = self._parts_below(type_, field.details)
        batched = batched_rows(type_.name, row, parts)
        if batched is not None:  # single rows are too few for a function of their own
            return Items(complete_value, each_by(complete_value, fail), fail, batched)
        complete_all = rows_builder(type_.name, parts, row, complete_value, fail)
        records = RecordsBuilder(type_.name, parts, row)
        return Items(complete_value, complete_all, fail, complete_records=records)


def _key(type_: GraphQLObjectType, details: FieldDetailsList) -> tuple[str, tuple[int, ...]]:
    return type_.name, tuple(id(detail.node) for detail in details)
