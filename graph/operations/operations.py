"""Runs prepared operations and encodes their results as JSON."""

import contextlib
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any, NamedTuple

import msgspec
from graphql import ExecutionResult, GraphQLSyntaxError, OperationType
from graphql.error import located_error

from db.errors import BadInput, HowdahError, TimedOut
from db.users import CostAllowance
from graph.context import Context
from graph.errors import present_all
from graph.executor import ResultTooLarge, TooManyInvalidValues
from graph.operations.admission import Admission
from graph.operations.cost_report import EXTENSION as COST
from graph.operations.cost_report import report_cost
from graph.operations.deadlines import Deadlines
from graph.operations.documents import Documents
from graph.operations.limits import RequestLimits, refuse_cost, result_error
from graph.operations.observer import UNOBSERVED, Following, Observer
from graph.operations.plans import Plans, Prepared, Refused
from graph.operations.request import GraphQLRequest

TIMEOUT_S = 60.0

_REFUSALS = (HowdahError, TimeoutError, TooManyInvalidValues, RecursionError)

_EXTENSIONS = b',"extensions":{'

_encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """An encoded response, and the facts that a transport needs."""

    payload: bytes
    errors: list[dict[str, Any]]
    ran: bool  # False if the request was refused before execution
    parsed: bool = True  # False if the document has a syntax error
    has_extensions: bool = False

    @property
    def code(self) -> str:
        return self.errors[0]["extensions"]["code"] if self.errors else "OK"

    @property
    def retry_after_s(self) -> float | None:
        """The longest `retryAfter` of the errors."""
        waits = [error["extensions"].get("retryAfter", 0) for error in self.errors]
        return max(waits, default=0) or None

    def extended(self, members: bytes) -> "Answer":
        """The same answer with `members`, those of a JSON object, added to its `extensions`."""
        start = self.payload[:-2] + b"," if self.has_extensions else self.payload[:-1] + _EXTENSIONS
        return self._replace(payload=start + members + b"}}", has_extensions=True)


def refuse(*errors: Exception, request_id: str) -> Answer:
    """The answer to a request that was refused before execution."""
    shown = present_all(errors, request_id=request_id)
    parsed = not any(isinstance(error, GraphQLSyntaxError) for error in errors)
    return Answer(_encode({"errors": shown}), shown, ran=False, parsed=parsed)


class Operations:
    """Prepares documents, runs queries and mutations, and follows subscriptions."""

    def __init__(
        self,
        plans: Plans,
        *,
        limits: RequestLimits,
        documents: Documents | None = None,
        allowance: CostAllowance | None = None,
        timeout_s: float = TIMEOUT_S,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self.limits = limits
        self._plans = plans
        self._documents = documents or Documents()
        self._allowance = allowance
        self._timeout_s = timeout_s
        self._deadlines = Deadlines(timeout_s)
        self._observer = observer
        self.admission = Admission()

    async def prepare(
        self,
        request: GraphQLRequest,
        context: Context,
        *,
        token_error: HowdahError | None = None,
    ) -> Prepared:
        """Find or make the plan of a request.

        `token_error` is why the context of a request with an access token has no viewer: the token
        is not valid, or could not be checked. It refuses what does not ignore the token.

        Raises:
            Refused: the document is invalid, too expensive, unknown or not allowed, the access
                token lacks a scope, or too many documents of the sender wait.
        """
        try:
            text, kept_as = self._documents.find(request)
            name = request.operation_name or None
            if request.extensions is not None:
                context.reports_cost = request.extensions.get(COST) is True
            prepared = self._plans.find(text, name)
            if prepared is None:
                async with self.admission.document(context):  # another request may have made it
                    prepared = self._plans.find(text, name) or await self._plans.make(
                        text, name, request.variables
                    )
            if kept_as is not None:
                self._documents.keep(kept_as, text)
            if token_error is not None and not prepared.ignores_token:
                raise token_error
            if context.viewer is not None:
                context.viewer.require_scopes(prepared.scopes)
        except Refused as error:
            refused = error if token_error is None else Refused(token_error)
        except HowdahError as error:
            refused = Refused(token_error or error)
        else:
            return prepared
        self._observer.refused(context, refused.code)
        raise refused

    def note_refusal(self, context: Context, error: HowdahError) -> None:
        """Call if a request or a socket is refused before `prepare`."""
        self._observer.refused(context, error.code)

    async def run(
        self, prepared: Prepared, variables: Mapping[str, Any] | None, context: Context
    ) -> Answer:
        """Run a query or a mutation."""
        began = time.perf_counter()
        context.task = self._deadlines.task()
        slot = None
        try:
            cost = await self._count_cost(prepared, variables, context)
            slot = await self.admission.slot(context, cost=cost, urgent=prepared.urgent)
            if not prepared.plan.is_compiled_for(variables):
                await self._compile(prepared, variables, context)
            if context.operation_reads is not None and prepared.kind is OperationType.QUERY:
                context.operation_reads.begin_query(context.statements)
            work = prepared.plan.execute(
                context=context, variables=variables, max_fields=self.limits.fields
            )
            answer = _answer(await self._deadlines.within(work, slot), context.request_id)
        except ResultTooLarge as error:
            too_large = result_error(error, prepared.operation, variables or {})
            errors = [located_error(too_large, path=error.path)]
            answer = _answer(ExecutionResult(None, errors), context.request_id)
        except _REFUSALS as error:
            answer = refuse(self._explain(error), request_id=context.request_id)
        except Exception:  # the transport answers it
            code = HowdahError.code
            self._observer.ended(prepared, context, code, time.perf_counter() - began)
            raise
        finally:
            if slot is not None:
                slot.close()
            context.loaders.clear()  # breaks the reference cycle between context and loaders
        if context.reports_cost:
            answer = self._with_cost(answer, prepared, variables, context)
        self._observer.ended(prepared, context, answer.code, time.perf_counter() - began)
        return answer

    async def follow(
        self, prepared: Prepared, variables: Mapping[str, Any] | None, context: Context
    ) -> AsyncGenerator[Answer]:
        """Open a subscription: its answers, or a single answer with the errors."""
        following = self._observer.follow(prepared, context)
        try:
            async with contextlib.aclosing(
                self._follow(prepared, variables, context, following)
            ) as answers:
                async for answer in answers:
                    following.note(answer.code)
                    yield answer
        finally:
            context.slot.close()
            following.end()

    async def _follow(
        self,
        prepared: Prepared,
        variables: Mapping[str, Any] | None,
        context: Context,
        following: Following,
    ) -> AsyncGenerator[Answer]:
        request_id = context.request_id
        try:
            cost = await self._count_cost(prepared, variables, context)
            slot = await self.admission.slot(context, cost=cost)
            try:
                if not prepared.plan.is_compiled_for(variables):
                    await self._compile(prepared, variables, context)
                opening = prepared.plan.subscribe(
                    context=context, variables=variables, max_fields=self.limits.fields
                )
                source = await self._deadlines.within(opening, slot)
            finally:
                slot.end()
        except _REFUSALS as error:
            refusal = refuse(self._explain(error), request_id=request_id)
            yield self._with_cost(refusal, prepared, variables, context)
            return
        if isinstance(source, ExecutionResult):
            refusal = refuse(*(source.errors or ()), request_id=request_id)
            yield self._with_cost(refusal, prepared, variables, context)
            return
        following.note("OK")
        try:
            async for result in source:
                answer = await with_position(_answer(result, request_id), context)
                yield self._with_cost(answer, prepared, variables, context)
                context.begin_event()
        except ResultTooLarge as error:
            yield refuse(
                result_error(error, prepared.operation, variables or {}), request_id=request_id
            )
        except Exception as error:  # noqa: BLE001 - a resolver's generator may raise anything
            yield refuse(error, request_id=request_id)
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()

    async def _compile(
        self, prepared: Prepared, variables: Mapping[str, Any] | None, context: Context
    ) -> None:
        """Compile a new combination of @skip and @include: it delays others like a new document.

        Call it right before the run: the plan keeps few combinations.

        Raises:
            RateLimited: too many documents of the sender wait.
        """
        async with self.admission.document(context):
            await self._plans.compile(prepared, variables)

    async def _count_cost(
        self, prepared: Prepared, variables: Mapping[str, Any] | None, context: Context
    ) -> int:
        """Computes the cost, and spends it from what the user has left in this minute.

        Raises:
            TooLarge: it exceeds what an operation, or a user in a minute, may request.
            RateLimited: it exceeds what is left of the minute.
        """
        context.cost = cost = refuse_cost(prepared.cost, variables or {}, prepared.max_cost)
        if self._allowance is not None and context.viewer is not None and not prepared.urgent:
            await self._allowance.spend(context.viewer.id, cost)
        return cost

    def _with_cost(
        self,
        answer: Answer,
        prepared: Prepared,
        variables: Mapping[str, Any] | None,
        context: Context,
    ) -> Answer:
        """Add the cost to the first answer, if the request asks for it."""
        if not context.reports_cost:
            return answer
        context.reports_cost = False
        standing = None
        if self._allowance is not None and context.viewer is not None:
            standing = self._allowance.standing(context.viewer.id)
        report = report_cost(prepared, variables or {}, standing)
        return answer.extended(report)

    def _explain(self, error: Exception) -> Exception:
        """Translate errors that concern the whole operation."""
        if isinstance(error, TimeoutError):
            return TimedOut(
                f"The operation took longer than {self._timeout_s:g} seconds and was stopped.",
                hint="Request less data in one operation, or retry later.",
            )
        if isinstance(error, TooManyInvalidValues):
            return BadInput(
                "The variables do not match the types that the operation declares, and have too "
                "many values to report which ones.",
                hint=f"Send fewer than {error.limit:,} values to see the errors.",
            )
        if isinstance(error, RecursionError):
            return BadInput(
                "The variables are nested too deeply.", hint="Reduce the nesting of the values."
            )
        return error


async def with_position(answer: Answer, context: Context) -> Answer:
    """Adds `extensions.seen`, for a client that keeps a position and gets no header."""
    if context.operation_reads is None:
        return answer
    return answer.extended(b'"seen":"%b"' % (await context.operation_reads.position()).encode())


def _answer(result: ExecutionResult, request_id: str) -> Answer:
    errors = present_all(result.errors, request_id=request_id) if result.errors else []
    body: dict[str, Any] = {"errors": errors} if errors else {}
    ran = result.data is not None or not _is_refusal(result)
    if ran:
        body["data"] = result.data
    try:
        return Answer(_encode(body), errors, ran=ran)
    except (
        TypeError,
        ValueError,
        RecursionError,
    ) as error:  # a scalar returned a value that JSON cannot represent
        return refuse(error, request_id=request_id)


def _is_refusal(result: ExecutionResult) -> bool:
    """Whether no error has a path: the variables were invalid, and no resolver ran."""
    return all(error.path is None for error in result.errors or ())
