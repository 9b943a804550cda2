"""The mutation that explains a statement."""

from typing import Annotated

import strawberry

from db.runs import Failure, RunRow
from db.workbench.plans.explain import ExplainRequest, explain
from db.workbench.plans.plan_nodes import Plan
from graph.auth import SignedIn
from graph.context import Info
from graph.kit.fields import (
    argument,
    attribute,
    mutation,
    optional,
    provided_fields,
    redacted_repr,
)
from graph.kit.scalars import Json
from graph.kit.scopes import TO_RUN, WORKBENCH
from graph.runs.plans.plan_types import QueryPlan
from graph.runs.results.result_types import RunError
from graph.runs.submission import apply_token_limits, parse_destination
from graph.runs.types import QueryRun

SCOPES = WORKBENCH


@strawberry.input(description="Statement to explain.")
class ExplainQueryInput:
    __repr__ = redacted_repr  # a statement may contain a password

    statement: str = attribute(
        "A single SQL statement without `EXPLAIN`, of up to 500,000 characters. Write `$1`, `$2`, "
        "... for parameters."
    )
    connection_id: strawberry.ID | None = optional(
        "ID of the `DatabaseConnection` to use. Pass either `connectionId` or `sessionId`."
    )
    session_id: strawberry.ID | None = optional(
        "ID of the `DatabaseSession` to explain the statement in, with its settings, temporary "
        "tables and open transaction, after the statements that were sent to it before."
    )
    parameters: list[Json | None] | None = optional(
        "Values of `$1`, `$2`, ..., as in `executeQuery`. The plan is made for these values. Omit "
        "them with `genericPlan`."
    )
    analyze: bool | None = optional(
        "If true, the statement is executed and the plan has times, rows and buffers. Its changes "
        "are rolled back. Defaults to false.",
        default=False,
    )
    generic_plan: bool | None = optional(
        "If true, the plan is the one that PostgreSQL uses for any values of `$1`, `$2`, ..., as "
        "for a prepared statement. Pass neither `parameters` nor `analyze` with it. Requires "
        "PostgreSQL 16 or newer. Defaults to false.",
        default=False,
    )
    timeout_ms: int | None = optional(
        "Timeout of the run in milliseconds, 1 to 50,000, starting when it leaves the queue. Omit "
        "it to use `statementTimeoutMs` of the connection, or else the server default."
    )


@strawberry.type(description="Payload of `explainQuery`.")
class ExplainQueryPayload:
    plan: Plan | None = attribute("The plan. Null if `error` is set.", type=QueryPlan | None)
    error: Failure | None = attribute(
        "Reason why there is no plan, with its position in the `statement` of the input. `code` "
        "is `TOO_LARGE` if the plan has more than 2,000 nodes, 200 levels or 2 MiB, and `TIMEOUT` "
        "if it was not ready in 55 seconds. Null if there is a plan.",
        type=RunError | None,
    )
    run: RunRow | None = attribute(
        "The run that explained the statement. Null if nothing was sent to the database.",
        type=QueryRun | None,
    )


@strawberry.type
class Mutation:
    @mutation(
        "Shows the plan of a statement. It starts a `QueryRun` of an `EXPLAIN`, which is limited, "
        "listed and cancelled as any other, and the changes of which are always rolled back. "
        "Responds when the run has ended, and cancels it after 55 seconds. An error of the "
        "statement is returned in `error`.",
        who=SignedIn,
        scopes=TO_RUN,
    )
    async def explain_query(
        self, info: Info, input: Annotated[ExplainQueryInput, argument("Statement to explain.")]
    ) -> ExplainQueryPayload:
        context, fields = info.context, provided_fields(input)
        parse_destination(fields)
        await apply_token_limits(context, fields)
        for name in ("analyze", "generic_plan"):
            fields[name] = fields.pop(name, None) is True
        context.remember_network()
        context.release_slot()
        found = await explain(context.services, context.owner, ExplainRequest(**fields))
        return ExplainQueryPayload(plan=found.plan, error=found.error, run=found.run)
