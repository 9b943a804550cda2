"""Runs operations that cannot be compiled with graphql-core."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple, cast

import graphql
from graphql import ExecutionResult, GraphQLSchema

from graph.executor.document import Operation


class CoreProgram(NamedTuple):
    """Runs an operation with graphql-core and the execution context of Strawberry."""

    schema: GraphQLSchema
    operation: Operation
    hide_suggestions: bool

    async def execute(
        self, *, context: object, variables: Mapping[str, Any] | None, root: object
    ) -> ExecutionResult:
        result = graphql.execute(
            self.schema, self.operation.document, **self._options(context, variables, root)
        )
        return result if isinstance(result, ExecutionResult) else await result

    async def subscribe(
        self, *, context: object, variables: Mapping[str, Any] | None, root: object
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
            "executor_class": getattr(strawberry_schema, "execution_context_class", None),
        }
