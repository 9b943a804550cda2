"""Compiles the selections of an operation to functions."""

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

from graph.executor.compile.codegen import FieldCode, Later, Typename, object_builder
from graph.executor.compile.strawberry_adapter import field_access, many_resolver
from graph.executor.document import Operation
from graph.executor.execute.batched import BatchedField, BatchedRows, ResolveMany
from graph.executor.execute.completion import (
    Build,
    Complete,
    abstract,
    error_handler,
    leaf,
    null_handler,
    object_,
    with_errors_handled,
)
from graph.executor.execute.lists import Rows, list_of
from graph.executor.execute.run import Field
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
        self._builders: dict[tuple[str, tuple[int, ...]], Build] = {}

    def steps(self, type_: GraphQLObjectType, *, serial: bool) -> list[Build]:
        """Functions that build the root fields; they run in sequence."""
        fields = self._root_fields(type_)
        groups = [{key: details} for key, details in fields.items()] if serial else [fields]
        return [self._builder(type_, group) for group in groups]

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
        key = (type_.name, tuple(id(detail.node) for detail in details))
        builder = self._builders.get(key)
        if builder is None:
            fields = self._subfields(type_, details)
            builder = self._builders[key] = self._builder(type_, fields)
        return builder

    def _subfields(self, type_: GraphQLObjectType, details: FieldDetailsList) -> GroupedFieldSet:
        return collect_subfields(
            self._schema,
            self._fragments,
            self._conditions,
            self._operation.definition,
            type_,
            details,
            self._hide_suggestions,
        ).grouped_field_set

    def _builder(self, type_: GraphQLObjectType, fields: GroupedFieldSet) -> Build:
        parts = [self._part(type_, key, details) for key, details in fields.items()]
        build: Build = object_builder(type_.name, [part for part in parts if part is not None])
        return build

    def _part(
        self, parent: GraphQLObjectType, key: str, details: FieldDetailsList
    ) -> FieldCode | Typename | None:
        if details[0].node.name.value == "__typename":
            return Typename(key)
        field = self._field(parent, key, details)
        if field is None:
            return None
        type_ = field.definition.type
        fail = error_handler(type_, field.nodes)
        complete = with_errors_handled(self._complete(type_, field), fail)
        access = field_access(field, hide_suggestions=self._hide_suggestions)
        return FieldCode(key, type_, access, complete, fail)

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
            item_type = nullable.of_type
            rows = self._rows(item_type, field)
            return list_of(self._complete(item_type, field), item_type, field, null, rows)
        if is_leaf_type(nullable):
            return leaf(nullable, null)

        def complete_as(object_type: GraphQLObjectType) -> Complete:
            return object_(object_type, self._object(object_type, field.details), field, null)

        if is_abstract_type(nullable):
            return abstract(nullable, complete_as, field, null)
        assert is_object_type(nullable)  # noqa: S101 - no other output type is left
        return complete_as(nullable)

    def _rows(self, item_type: GraphQLOutputType, field: Field) -> Rows | None:
        """The class of items that need no type check, if the schema has marked one."""
        type_ = get_nullable_type(item_type)
        if not is_object_type(type_) or (row := accepted_by(type_.is_type_of)) is None:
            return None
        return Rows(row, self._object(type_, field.details), self._batched(row, type_, field))

    def _batched(self, row: type, type_: GraphQLObjectType, lists: Field) -> BatchedRows | None:
        parts: list[FieldCode | Typename | Later | None] = []
        batched: list[BatchedField] = []
        fields = self._subfields(type_, lists.details)
        resolvers = {key: self._many_resolver(type_, key, fields[key]) for key in fields}
        if not any(resolvers.values()):
            return None
        for key, details in fields.items():
            part, resolve = self._part(type_, key, details), resolvers[key]
            if resolve is not None and isinstance(part, FieldCode):
                later = BatchedField(key, type_.name, resolve, part.complete, part.fail)
                batched.append(later)
                parts.append(Later(key))
            else:
                parts.append(part)
        build = object_builder(type_.name, [part for part in parts if part is not None])
        return BatchedRows(row, build, batched)

    def _many_resolver(
        self, parent: GraphQLObjectType, key: str, details: FieldDetailsList
    ) -> ResolveMany | None:
        field = self._field(parent, key, details)
        return None if field is None else many_resolver(field)
