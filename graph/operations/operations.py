"""Runs prepared operations and puts what came of them into words of JSON."""

import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec
from graphql import ExecutionResult

from db.errors import BadInput, HowdahError, RateLimited, TimedOut
from graph.context import Context
from graph.errors import present_all
from graph.executor import TooManyInvalidValues
from graph.operations.admission import Admission
from graph.operations.deadlines import Deadlines
from graph.operations.limits import Limits, refuse_cost
from graph.operations.persisted import PersistedDocuments
from graph.operations.plans import Plans, Prepared
from graph.operations.request import GraphQLRequest

T = TypeVar("T")

Observe: TypeAlias = Callable[[str, str, float], None]
"""Told of each finished operation: its kind, `OK` or its first error's code, its seconds."""

_encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """A response as it goes out, and what a transport needs to know of it."""

    payload: bytes
    errors: list[dict[str, Any]]
    ran: bool  # else the request was refused, and there is no data

    @property
    def code(self) -> str:
        return self.errors[0]["extensions"]["code"] if self.errors else "OK"

    @property
    def retry_after_s(self) -> float | None:
        """The longest time that any of the errors asks to wait."""
        waits = [error["extensions"].get("retryAfter", 0) for error in self.errors]
        return max(waits, default=0) or None


def refuse(*errors: Exception, request_id: str) -> Answer:
    """The answer to a request of which nothing was run."""
    shown = present_all(errors, request_id=request_id)
    return Answer(_encode({"errors": shown}), shown, ran=False)


class Operations:
    """The whole of GraphQL for a transport: prepare a document, then run it or follow it."""

    def __init__(
        self,
        plans: Plans,
        *,
        limits: Limits,
        timeout_s: float = 60,
        observe: Observe = lambda _kind, _code, _seconds: None,
    ) -> None:
        self.limits = limits
        self._plans = plans
        self._persisted = PersistedDocuments()
        self._timeout_s = timeout_s
        self._deadlines = Deadlines(timeout_s)
        self._observe = observe
        self._admission = Admission()

    async def prepare(self, request: GraphQLRequest, context: Context) -> Prepared:
        """Find or make the plan of a request.

        Raises:
            Refused: with the reasons.
        """
        wanted = self._persisted.hash_of(request)
        text = request.query if wanted is None else self._persisted.text_of(request, wanted)
        name = request.operation_name or None
        prepared = self._plans.find(text, name)
        if prepared is None:
            async with self._admission.document(context):  # perhaps it was made meanwhile
                prepared = self._plans.find(text, name) or await self._plans.make(text, name)
        if wanted is not None:
            self._persisted.keep(wanted, text)
        return prepared

    async def before_refusal(self, client_address: str) -> None:
        """Waits for the time to refuse a request of which not even the sender is known."""
        with contextlib.suppress(RateLimited):  # it is refused anyway
            await self._admission.refusal(client_address)

    async def run(
        self, prepared: Prepared, variables: Mapping[str, Any] | None, context: Context
    ) -> Answer:
        """Run a query or a mutation."""
        started_at = time.perf_counter()
        try:
            answer = await self._run(prepared, variables, context)
        finally:
            context.loaders.clear()  # they know the context: a circle that holds all they loaded
        self._observe(prepared.kind.value, answer.code, time.perf_counter() - started_at)
        return answer

    async def follow(
        self, prepared: Prepared, variables: Mapping[str, Any] | None, context: Context
    ) -> AsyncGenerator[Answer]:
        """Open a subscription: its answers, or the one that says why there are none."""
        request_id = context.request_id
        try:
            cost = prepared.cost.run(variables or {})
            refuse_cost(cost, self.limits)
            slot = await self._admission.slot(context, cost=cost)
            try:
                source = await self._in_time(
                    prepared.plan.subscribe(context=context, variables=variables)
                )
            finally:
                slot.end()
        except HowdahError as error:
            yield refuse(error, request_id=request_id)
            return
        if isinstance(source, ExecutionResult):
            yield _answer(source, request_id)
            return
        try:
            async for result in source:
                yield _answer(result, request_id)
                context.loaders.clear()  # what one event loaded is old news at the next
        except Exception as error:  # noqa: BLE001 - a resolver's generator may raise anything
            yield refuse(error, request_id=request_id)
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()

    async def _run(
        self, prepared: Prepared, variables: Mapping[str, Any] | None, context: Context
    ) -> Answer:
        try:
            cost = prepared.cost.run(variables or {})
            refuse_cost(cost, self.limits)
            slot = await self._admission.slot(context, cost=cost, urgent=prepared.urgent)
            try:
                result = await self._in_time(
                    prepared.plan.execute(context=context, variables=variables)
                )
            finally:
                slot.end()
        except HowdahError as error:
            return refuse(error, request_id=context.request_id)
        return _answer(result, context.request_id)

    async def _in_time(self, work: Awaitable[T]) -> T:
        """Errors of fields are in the result; what is raised here is about the whole of it."""
        try:
            return await self._deadlines.within(work)
        except TimeoutError:
            raise TimedOut(
                f"The operation took longer than {self._timeout_s:g} seconds and was stopped.",
                hint="Ask for less at once, or try again later.",
            ) from None
        except TooManyInvalidValues as error:
            raise BadInput(
                "The variables do not match the types that the operation declares, and have too "
                "many values to report which ones.",
                hint=f"Send fewer than {error.limit:,} values to see the errors.",
            ) from None
        except RecursionError:
            raise BadInput(
                "The variables are nested too deeply.", hint="Send flatter values."
            ) from None


def _answer(result: ExecutionResult, request_id: str) -> Answer:
    errors = present_all(result.errors, request_id=request_id) if result.errors else []
    body: dict[str, Any] = {"errors": errors} if errors else {}
    ran = result.data is not None or not _is_refusal(result)
    if ran:
        body["data"] = result.data
    try:
        return Answer(_encode(body), errors, ran=ran)
    except (TypeError, ValueError, RecursionError) as error:  # a scalar gave what JSON has not
        return refuse(error, request_id=request_id)


def _is_refusal(result: ExecutionResult) -> bool:
    """Errors that belong to no place in the data: a variable was not accepted, nothing ran."""
    return all(error.path is None for error in result.errors or ())
