"""Opens the event stream of a subscription."""

from collections.abc import AsyncIterable, Callable
from typing import Any

from graphql import GraphQLError
from graphql.execution import default_field_resolver
from graphql.execution.values import get_argument_values
from graphql.pyutils import inspect, is_awaitable
from graphql.pyutils.is_awaitable import is_async_iterable

from graph.executor.execute.info import Field, ResolveInfo
from graph.executor.execute.run import Path, Run, locate


class EventSource:
    """The subscribe resolver of a subscription's field."""

    def __init__(self, field: Field, *, hide_suggestions: bool) -> None:
        self._field = field
        self._hide_suggestions = hide_suggestions

    async def open(self, run: Run) -> AsyncIterable[Any]:
        """Call the subscribe resolver.

        Raises:
            GraphQLError: any failure, with its location.
        """
        path = (None, self._field.key, self._field.parent.name)
        try:
            return await self._call(path, run)
        except Exception as error:
            raise locate(error, self._field.nodes, path) from error

    async def _call(self, path: Path, run: Run) -> AsyncIterable[Any]:
        definition = self._field.definition
        arguments = get_argument_values(
            definition,
            self._field.nodes[0],
            run.variables,
            hide_suggestions=self._hide_suggestions,
        )
        subscribe: Callable[..., Any] = definition.subscribe or default_field_resolver
        events = subscribe(run.root, ResolveInfo(self._field, path, run), **arguments)
        if is_awaitable(events):
            events = await events
        if isinstance(events, Exception):
            raise events
        if not is_async_iterable(events):
            raise GraphQLError(
                f"Subscription field must return AsyncIterable. Received: {inspect(events)}."
            )
        return events
