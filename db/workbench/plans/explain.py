"""Explains a statement by a run whose result is its plan."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import msgspec

from db.errors import BadInput, HowdahError
from db.kit.base import OwnerId
from db.runs import Failure, RunRow, RunState
from db.workbench.execution.request.run_request import RunRequest, check_range
from db.workbench.execution.run_failures import EMPTY_STATEMENT, multiple_statements
from db.workbench.execution.runner import Runner
from db.workbench.plans.plan_failures import (
    CANCELLED,
    EXPIRED,
    NOT_A_PLAN,
    in_statement,
    not_ready,
    too_large,
    unexplainable,
)
from db.workbench.plans.plan_nodes import Plan, PlanTooLarge, PlanUnreadable, parse_plan
from db.workbench.results.result_store import ResultStore
from db.workbench.sql.explain_text import explain_statement, unexplainable_kind
from db.workbench.sql.sql_text import is_empty, second_statement

MAX_PLAN_BYTES = 2 * 1024 * 1024
"""The limit of the JSON of a plan: 1,000 nodes of an analyzed statement have about 800 kB."""
MAX_TIMEOUT_MS = 50_000
WAIT_S = 55.0
"""Less than the time-out of an operation, which would lose the reason."""


class ExplainServices(Protocol):
    """The services that a plan needs."""

    @property
    def runner(self) -> Runner: ...

    @property
    def results(self) -> ResultStore: ...


class ExplainRequest(NamedTuple):
    """A statement to explain. None uses the default of the connection or of the server."""

    connection_id: UUID | None
    session_id: UUID | None
    statement: str
    parameters: Sequence[Any] | None = None
    analyze: bool = False
    generic_plan: bool = False
    timeout_ms: int | None = None
    read_only: bool | None = None


class Explanation(NamedTuple):
    """Either the plan, or why there is none. `run` is None if nothing was sent."""

    run: RunRow | None
    plan: Plan | None
    error: Failure | None


async def explain(
    services: ExplainServices, owner: OwnerId, request: ExplainRequest
) -> Explanation:
    """Starts a run and waits for its plan. A caller that is cancelled cancels the run."""
    check_range("timeoutMs", request.timeout_ms, MAX_TIMEOUT_MS)
    _check_generic_plan(request)
    runner, limits = services.runner, services.runner.limits
    run_request = RunRequest(
        request.connection_id,
        request.statement,
        parameters=request.parameters,
        timeout_ms=request.timeout_ms,
        max_bytes=min(MAX_PLAN_BYTES, limits.max_bytes),
        read_only=request.read_only,
        session_id=request.session_id,
    ).validate(limits)
    if (refusal := _refusal(request.statement)) is not None:
        return Explanation(None, None, refusal)
    text = explain_statement(
        request.statement, analyze=request.analyze, generic=request.generic_plan
    )
    submitted = await runner.submit(owner, run_request._replace(statement=text))
    try:
        run = await runner.wait_until_finished(owner, submitted.run.id, within_s=WAIT_S)
    except asyncio.CancelledError:
        with contextlib.suppress(HowdahError):
            await asyncio.shield(asyncio.ensure_future(runner.cancel(owner, submitted.run.id)))
        raise
    if not run.is_finished:
        run = (await runner.cancel(owner, run.id)).run
        if run.state == RunState.CANCELLED:
            return Explanation(run, None, not_ready(WAIT_S))
    return await read_plan(services.results, run)


async def read_plan(results: ResultStore, run: RunRow) -> Explanation:
    """The plan of a run that has ended."""
    if run.state != RunState.SUCCEEDED:
        error = run.parsed_error
        return Explanation(run, None, CANCELLED if error is None else in_statement(error, run))
    if run.truncated is not None:
        return Explanation(run, None, too_large(f"more than {run.max_bytes} bytes"))
    lines = await results.rows(run.owner_id, run.id, offset=0, first=1, max_bytes=run.max_bytes)
    if not lines:
        return Explanation(run, None, EXPIRED)
    try:
        (text,) = msgspec.json.decode(lines[0], type=tuple[str])
        # Outside the event loop, of which the largest plans would take 40 ms.
        plan = await asyncio.to_thread(parse_plan, text, prefix=f"{run.id.hex}.")
        return Explanation(run, plan, None)
    except (msgspec.ValidationError, PlanUnreadable):
        return Explanation(run, None, NOT_A_PLAN)
    except PlanTooLarge as error:
        return Explanation(run, None, too_large(str(error)))


def _check_generic_plan(request: ExplainRequest) -> None:
    """Raises BadInput for what PostgreSQL needs values for, or what gives it values."""
    if not request.generic_plan:
        return
    if request.analyze:
        raise BadInput(
            "`genericPlan` and `analyze` exclude each other.",
            hint="Omit `genericPlan`, and pass `parameters`: a statement without values cannot be "
            "executed.",
            field="genericPlan",
        )
    if request.parameters:
        raise BadInput(
            "`genericPlan` and `parameters` exclude each other.",
            hint="Omit `parameters`: a generic plan depends on no values.",
            field="genericPlan",
        )


def _refusal(statement: str) -> Failure | None:
    """The error of a statement that is not sent: with EXPLAIN before it, the server's misleads."""
    if is_empty(statement):
        return EMPTY_STATEMENT
    if (second := second_statement(statement)) is not None:
        return multiple_statements(statement, second)
    kind = unexplainable_kind(statement)
    return None if kind is None else unexplainable(kind, statement)
