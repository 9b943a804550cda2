"""A span of each GraphQL operation, and of each batch of its loaders."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.trace import Span, Status, StatusCode, Tracer, set_span_in_context

from graph.context import Context
from graph.kit.ids import id_of
from graph.kit.loaders import BatchLoader
from graph.operations import Answer, Operations, Prepared

NAME_CHARACTERS = 100
"""The client chooses the name of an operation."""

_FAULTS = {"INTERNAL", "OVERLOADED", "TIMEOUT", "UNAVAILABLE"}
"""The codes of errors that are not the client's."""


def traced_operations(tracer: Tracer) -> type[Operations]:
    """Operations that make spans by this tracer."""

    class TracedOperations(_TracedOperations):
        _tracer = tracer

    return TracedOperations


class _TracedOperations(Operations):
    _tracer: Tracer

    async def run(
        self, prepared: Prepared, variables: Mapping[str, Any] | None, context: Context
    ) -> Answer:
        with _current_span(
            self._tracer, _name_of(prepared), _attributes_of(prepared, context)
        ) as span:
            if span.is_recording():
                context.loaders = _TracedLoaders(self._tracer)
            answer = await super().run(prepared, variables, context)
            _note_outcome(span, answer)
        return answer

    async def follow(
        self, prepared: Prepared, variables: Mapping[str, Any] | None, context: Context
    ) -> AsyncGenerator[Answer]:
        """The span of a subscription lasts as long as it, and contains the work for its events."""
        span = self._tracer.start_span(
            _name_of(prepared), attributes=_attributes_of(prepared, context)
        )
        if span.is_recording():
            context.loaders = _TracedLoaders(self._tracer)
        inside, events = set_span_in_context(span), 0
        answers = super().follow(prepared, variables, context)
        try:
            while (answer := await _next_in(inside, answers)) is not None:
                events += 1
                _note_outcome(span, answer)
                yield answer
        finally:
            await answers.aclose()
            span.set_attribute("howdah.events", events)
            span.end()


class _TracedLoaders(dict[type, Any]):
    """The loaders of one operation. Each makes a span of its batches."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self._tracer = tracer

    def __setitem__(self, kind: type, loader: Any) -> None:
        if isinstance(loader, BatchLoader):
            loader.find = self._traced(kind, loader.find, len)  # type: ignore[method-assign,assignment]
            loader.find_one = self._traced(kind, loader.find_one, _one)  # type: ignore[method-assign,assignment]
        super().__setitem__(kind, loader)

    def _traced(
        self, kind: type, find: Callable[[Any], Awaitable[Any]], count: Callable[[Any], int]
    ) -> Callable[[Any], Awaitable[Any]]:
        name = f"load {kind.__name__}"

        async def found(keys: Any) -> Any:
            with _current_span(self._tracer, name, {"howdah.loader.keys": count(keys)}):
                return await find(keys)

        return found


def _one(_: object) -> int:
    return 1


def _current_span(
    tracer: Tracer, name: str, attributes: dict[str, str | int]
) -> AbstractContextManager[Span]:
    """Exceptions are not recorded: their texts may contain values of users."""
    return tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    )


async def _next_in(inside: otel_context.Context, answers: AsyncGenerator[Answer]) -> Answer | None:
    token = otel_context.attach(inside)
    try:
        return await anext(answers, None)
    finally:
        otel_context.detach(token)


def _name_of(prepared: Prepared) -> str:
    name = _operation_name(prepared)
    return f"{prepared.kind.value} {name}" if name else prepared.kind.value


def _operation_name(prepared: Prepared) -> str:
    node = prepared.operation.definition.name
    return "" if node is None else node.value[:NAME_CHARACTERS]


def _attributes_of(prepared: Prepared, context: Context) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "graphql.operation.type": prepared.kind.value,
        "howdah.request_id": context.request_id,
    }
    if name := _operation_name(prepared):
        attributes["graphql.operation.name"] = name
    if context.viewer is not None:
        attributes["user.id"] = id_of("user", context.viewer.id)
    return attributes


def _note_outcome(span: Span, answer: Answer) -> None:
    code = answer.code
    span.set_attribute("howdah.code", code)
    if code in _FAULTS:
        span.set_attribute("error.type", code)
        span.set_status(Status(StatusCode.ERROR))
