"""Runs operations that cannot be compiled with graphql-core."""

import math
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor
from typing import Any, NamedTuple, cast

import graphql
from graphql import ExecutionResult, GraphQLResolveInfo, GraphQLSchema, OperationType

from graph.executor.document import Operation


class CoreProgram(NamedTuple):
    """Runs an operation with graphql-core and the execution context of Strawberry."""

    schema: GraphQLSchema
    operation: Operation
    hide_suggestions: bool
    before_step: Callable[[Any], object] | None = None
    """Called with the context before each root field of a mutation."""

    @property
    def counts_fields(self) -> bool:
        """Whether `max_fields` limits the result."""
        return False

    @property
    def kind(self) -> OperationType:
        return self.operation.definition.operation

    @property
    def max_variants(self) -> int:
        return 1

    def is_compiled_for(self, _variables: Mapping[str, Any] | None) -> bool:
        """There is nothing to compile."""
        return True

    async def compile_for(
        self, _variables: Mapping[str, Any] | None, _thread: Executor | None
    ) -> None:
        """Does nothing."""

    async def execute(
        self,
        *,
        context: object,
        variables: Mapping[str, Any] | None,
        root: object = None,
        max_fields: float = math.inf,  # noqa: ARG002 - as `CompiledProgram.execute`
    ) -> ExecutionResult:
        """Runs a query or a mutation. Does not count its fields."""
        result = graphql.execute(
            self.schema, self.operation.document, **self._options(context, variables, root)
        )
        return result if isinstance(result, ExecutionResult) else await result

    async def subscribe(
        self,
        *,
        context: object,
        variables: Mapping[str, Any] | None,
        root: object = None,
        max_fields: float = math.inf,  # noqa: ARG002 - as above
    ) -> AsyncIterator[ExecutionResult] | ExecutionResult:
        result = graphql.subscribe(
            self.schema, self.operation.document, **self._options(context, variables, root)
        )
        if isinstance(result, ExecutionResult | AsyncIterator):
            return result
        return await result

    def _options(
        self, context: object, variables: Mapping[str, Any] | None, root: object
    ) -> dict[str, Any]:
        strawberry_schema = self.schema.extensions.get("strawberry-definition")
        return {
            "root_value": root,
            "context_value": context,
            "variable_values": cast("dict[str, Any] | None", variables),
            "operation_name": self.operation.name,
            "hide_suggestions": self.hide_suggestions,
            "middleware": self.before_step and [_before_each_root_field(self.before_step)],
            "executor_class": getattr(strawberry_schema, "execution_context_class", None),
        }


def _before_each_root_field(before_step: Callable[[Any], object]) -> Callable[..., Any]:
    def middleware(
        resolve: Callable[..., Any], root: Any, info: GraphQLResolveInfo[Any], **arguments: Any
    ) -> Any:
        if info.path.prev is None:
            before_step(info.context)
        return resolve(root, info, **arguments)

    return middleware
