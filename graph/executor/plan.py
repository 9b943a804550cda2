"""The plan: an operation made ready once, so that a request only has to run it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol

from graphql import DocumentNode, ExecutionResult, GraphQLSchema, OperationType

from graph.executor.document import select_operation
from graph.executor.fallback import CoreProgram
from graph.executor.program import CompiledProgram


class Program(Protocol):
    """What runs a plan's operation."""

    async def execute(
        self, *, context: object, variables: Mapping[str, Any] | None, root: object
    ) -> ExecutionResult: ...

    async def subscribe(
        self, *, context: object, variables: Mapping[str, Any] | None, root: object
    ) -> AsyncIterator[ExecutionResult] | ExecutionResult: ...


class Plan:
    """One operation of a validated document, ready to run any number of times at once."""

    __slots__ = ("_program", "compiled", "operation")

    def __init__(self, operation: OperationType, program: Program) -> None:
        self.operation = operation
        self.compiled = isinstance(program, CompiledProgram)
        self._program = program

    def execute(
        self, *, context: object, variables: Mapping[str, Any] | None, root: object = None
    ) -> Awaitable[ExecutionResult]:
        """Run a query or a mutation. Errors are in the result, never raised."""
        return self._program.execute(context=context, variables=variables, root=root)

    def subscribe(
        self, *, context: object, variables: Mapping[str, Any] | None, root: object = None
    ) -> Awaitable[AsyncIterator[ExecutionResult] | ExecutionResult]:
        """Open a subscription: its results, or one result that says why there are none."""
        return self._program.subscribe(context=context, variables=variables, root=root)


def compile_plan(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation_name: str | None,
    *,
    hide_suggestions: bool = False,
    before_mutation_field: Callable[[Any], object] | None = None,
) -> Plan:
    """Make a validated document ready to run.

    `before_mutation_field` is called with the context before each root field of a mutation.

    Raises:
        GraphQLError: the document has no such operation, or more than one it could be.
    """
    operation = select_operation(document, operation_name)
    kind = operation.definition.operation
    before_step = before_mutation_field if kind is OperationType.MUTATION else None
    core = CoreProgram(schema, operation, hide_suggestions, before_step)
    root_type = schema.get_root_type(kind)
    if root_type is None or not operation.is_compilable():
        return Plan(kind, core)
    return Plan(kind, CompiledProgram(core, root_type))
