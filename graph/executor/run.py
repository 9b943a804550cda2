"""State of one run of a compiled operation: inputs, errors and pending awaitables."""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, TypeVar

from graphql.execution.values import VariableValues
from graphql.type import GraphQLResolveInfoHelpers

from graph.executor.errors import ErrorLog

A = TypeVar("A", bound=Awaitable[Any])


class Run:
    """The state of one run of a program."""

    __slots__ = ("_held", "arguments", "context", "log", "root", "variables")

    def __init__(self, *, context: object, root: object, variables: VariableValues) -> None:
        self.context = context
        self.root = root
        self.variables = variables
        self.log = ErrorLog()
        self.arguments: dict[object, dict[str, Any]] = {}  # immutable arguments by field
        self._held: list[Awaitable[Any]] = []

    def hold(self, awaitable: A) -> A:
        """Register an awaitable, so that `abandon` can dispose of it after an error elsewhere."""
        self._held.append(awaitable)
        return awaitable

    def abandon(self) -> None:
        """Dispose of awaitables that were never awaited, which avoids warnings."""
        abandon(self._held)
        self._held.clear()


def abandon(values: Sequence[Any]) -> None:
    """Close coroutines, and mark the errors of futures as retrieved."""
    for value in values:
        if isinstance(value, Coroutine):
            value.close()
        elif isinstance(value, asyncio.Future):
            value.add_done_callback(lambda future: future.cancelled() or future.exception())


async def gather(awaitables: Sequence[Awaitable[Any]]) -> list[Any]:
    """Await concurrently. The first error or a cancellation cancels the others and awaits them."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


# The helpers that graphql-core's default type resolver calls.
ASYNC_HELPERS = GraphQLResolveInfoHelpers(gather=gather, track=abandon)
