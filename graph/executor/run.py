"""One run of a compiled operation: its inputs, its errors and what it still waits for."""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, TypeVar

from graphql.execution.values import VariableValues
from graphql.type import GraphQLResolveInfoHelpers

from graph.executor.errors import ErrorLog

A = TypeVar("A", bound=Awaitable[Any])


class Run:
    """Everything that differs from one run of a program to the next."""

    __slots__ = ("_held", "arguments", "context", "log", "root", "variables")

    def __init__(self, *, context: object, root: object, variables: VariableValues) -> None:
        self.context = context
        self.root = root
        self.variables = variables
        self.log = ErrorLog()
        self.arguments: dict[object, dict[str, Any]] = {}  # by field: computed at most once
        self._held: list[Awaitable[Any]] = []

    def hold(self, awaitable: A) -> A:
        """Remember what is to be awaited: an error elsewhere may come first."""
        self._held.append(awaitable)
        return awaitable

    def abandon(self) -> None:
        """Dispose of what was never awaited, so that nothing warns about it later."""
        abandon(self._held)
        self._held.clear()


def abandon(values: Sequence[Any]) -> None:
    """Let go of awaitables: close coroutines, read the errors of futures that others own."""
    for value in values:
        if isinstance(value, Coroutine):
            value.close()
        elif isinstance(value, asyncio.Future):
            value.add_done_callback(lambda future: future.cancelled() or future.exception())


async def gather(awaitables: Sequence[Awaitable[Any]]) -> list[Any]:
    """Await all at once. The first error or a cancellation cancels the rest and waits for it."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


# What graphql-core's own type resolver asks of whoever executes.
ASYNC_HELPERS = GraphQLResolveInfoHelpers(gather=gather, track=abandon)
