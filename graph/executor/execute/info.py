"""Fields of a plan, and the info object that resolvers receive."""

from dataclasses import dataclass
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    OperationDefinitionNode,
)
from graphql.execution.collect_fields import FieldDetailsList
from graphql.pyutils import Path as CorePath
from graphql.pyutils import is_awaitable

from graph.executor.document import Operation
from graph.executor.execute.run import ASYNC_HELPERS, Path, Run


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One response key of one object type, independent of any run."""

    key: str
    definition: GraphQLField
    parent: GraphQLObjectType
    details: FieldDetailsList
    nodes: list[FieldNode]
    schema: GraphQLSchema
    operation: Operation

    @property
    def name(self) -> str:
        return self.nodes[0].name.value

    def __str__(self) -> str:
        return f"{self.parent}.{self.name}"


class ResolveInfo:
    """Replaces graphql-core's ``GraphQLResolveInfo``. Its attributes are computed on access."""

    __slots__ = ("_field", "_path", "_run")

    abort_signal = None
    async_helpers = ASYNC_HELPERS
    operation_extensions = None  # read by Strawberry; no transport sets it

    def __init__(self, field: Field, path: Path, run: Run) -> None:
        self._field = field
        self._path = path
        self._run = run

    def is_awaitable(self, value: Any) -> bool:
        """Also registers awaitables with the run: graphql-core's type resolver may abandon them."""
        found = is_awaitable(value)
        if found:
            self._run.hold(value)
        return found

    @property
    def field_name(self) -> str:
        return self._field.name

    @property
    def field_nodes(self) -> list[FieldNode]:
        return self._field.nodes

    @property
    def return_type(self) -> GraphQLOutputType:
        return self._field.definition.type

    @property
    def parent_type(self) -> GraphQLObjectType:
        return self._field.parent

    @property
    def path(self) -> CorePath:
        path = self._path
        while (
            isinstance(path[1], int) and path[0] is not None
        ):  # list items share the info of their field
            path = path[0]
        return _core_path(path)

    @property
    def schema(self) -> GraphQLSchema:
        return self._field.schema

    @property
    def fragments(self) -> dict[str, FragmentDefinitionNode]:
        return self._field.operation.fragments

    @property
    def root_value(self) -> Any:
        return self._run.root

    @property
    def operation(self) -> OperationDefinitionNode:
        return self._field.operation.definition

    @property
    def variable_values(self) -> dict[str, Any]:
        return self._run.variables.coerced

    @property
    def context(self) -> Any:
        return self._run.context


def _core_path(path: Path) -> CorePath:
    parent, key, typename = path
    return CorePath(None if parent is None else _core_path(parent), key, typename)
