"""Plans: operations that are compiled once and executed by each request."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

from graphql import DocumentNode, ExecutionResult, GraphQLSchema, OperationType

from graph.executor.document import select_operation
from graph.executor.fallback import CoreProgram
from graph.executor.program import CompiledProgram


class Plan(Protocol):
    """One operation of a validated document, ready to run any number of times at once.

    Compiled, or executed by graphql-core.
    """

    @property
    def kind(self) -> OperationType: ...

    async def execute(
        self, *, context: object, variables: Mapping[str, Any] | None, root: object = None
    ) -> ExecutionResult:
        """Run a query or a mutation. Field errors are in the result, never raised.

        Raises:
            TooManyInvalidValues: the variables are invalid and too many to describe.
        """
        ...

    async def subscribe(
        self, *, context: object, variables: Mapping[str, Any] | None, root: object = None
    ) -> AsyncIterator[ExecutionResult] | ExecutionResult:
        """Open a subscription: an iterator of results, or one result with the errors.

        Raises:
            TooManyInvalidValues: the variables are invalid and too many to describe.
        """
        ...


def compile_plan(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation_name: str | None,
    *,
    hide_suggestions: bool = False,
    before_mutation_field: Callable[[Any], object] | None = None,
) -> Plan:
    """Compile one operation of a validated document.

    `before_mutation_field` is called with the context before each root field of a mutation.

    Raises:
        GraphQLError: the document has no such operation, or the name is missing and there are
            several.
    """
    operation = select_operation(document, operation_name)
    kind = operation.definition.operation
    before_step = before_mutation_field if kind is OperationType.MUTATION else None
    core = CoreProgram(schema, operation, hide_suggestions, before_step)
    root_type = schema.get_root_type(kind)
    if root_type is None or not operation.is_compilable():
        return core
    return CompiledProgram(core, root_type)
