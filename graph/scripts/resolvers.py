"""Queries, mutations and subscriptions on scripts."""

from collections.abc import AsyncIterator
from typing import Annotated

import strawberry

from db.scripts import ScriptRunRow
from db.workbench.scripts.script_request import ScriptRequest
from db.workbench.scripts.splitter import StatementRange as StatementRangeRow
from db.workbench.scripts.splitter import split_script
from graph.auth import SignedIn
from graph.context import Info
from graph.kit.fields import argument, mutation, provided_fields, query, subscription
from graph.kit.ids import parse_id
from graph.kit.scopes import TO_RUN, WORKBENCH
from graph.runs.script_fields import ScriptById, StatementRange
from graph.runs.submission import apply_token_limits, parse_destination
from graph.runs.types import ScriptRun
from graph.scripts.inputs import (
    CancelScriptInput,
    CancelScriptPayload,
    ExecuteScriptInput,
    ExecuteScriptPayload,
)
from graph.scripts.live_status import follow_script

SCOPES = WORKBENCH

SPLIT_IN_THREAD_CHARS = 1_000
"""A longer script is split in a thread: a document may ask for 50, and the longest takes 1 s."""

ScriptId = Annotated[strawberry.ID, argument("ID of the script.")]


@strawberry.type
class Query:
    @query(
        "Fetches one of the viewer's scripts by ID. Returns null if the viewer has no such script.",
        who=SignedIn,
        type=ScriptRun | None,
    )
    async def script_run(self, info: Info, id: ScriptId) -> ScriptRunRow | None:
        return await ScriptById.of(info.context).load(parse_id("script", id))

    @query(
        "Splits a script into its statements as `psql` does, without executing anything. Empty "
        "statements are left out. Fails with `BAD_USER_INPUT` if the script has a backslash "
        "command of `psql`; the message names the command and its line.",
        who=SignedIn,
        type=list[StatementRange],
    )
    async def split_statements(
        self,
        info: Info,
        script: Annotated[str, argument("SQL statements, up to 500,000 characters.")],
    ) -> list[StatementRangeRow]:
        owner = info.context.owner
        if len(script) <= SPLIT_IN_THREAD_CHARS:
            return split_script(script)
        return await info.context.services.scripts.split(owner, script)


@strawberry.type
class Mutation:
    @mutation(
        "Executes the statements of a script one after the other, each as a `QueryRun`. Nothing is "
        "executed if the script cannot be split or has a backslash command of `psql`. Returns when "
        "the script is queued; follow it with `scriptStatus`. Fails with `RATE_LIMITED` if too "
        "many of the viewer's scripts are active, or too many sessions are open.",
        who=SignedIn,
        scopes=TO_RUN,
    )
    async def execute_script(
        self, info: Info, input: Annotated[ExecuteScriptInput, argument("Script to execute.")]
    ) -> ExecuteScriptPayload:
        context = info.context
        fields = provided_fields(input)
        key = fields.pop("idempotency_key", None)
        parse_destination(fields)
        await apply_token_limits(context, fields)
        context.release_slot()
        context.remember_network()
        submitted = await context.services.scripts.submit(
            context.owner, ScriptRequest(**fields), key=key
        )
        return ExecuteScriptPayload(script_run=submitted.script, replayed=submitted.replayed)

    @mutation(
        "Cancels a script. Responds within two seconds, when its statement was cancelled and no "
        "further one can begin. Returns a script that has ended unchanged.",
        who=SignedIn,
        scopes=TO_RUN,
        urgent=True,
    )
    async def cancel_script(
        self, info: Info, input: Annotated[CancelScriptInput, argument("Script to cancel.")]
    ) -> CancelScriptPayload:
        context = info.context
        script = await context.services.scripts.cancel(context.owner, parse_id("script", input.id))
        return CancelScriptPayload(script_run=script)


@strawberry.type
class Subscription:
    @subscription(
        "Sends the current script, then every change of its `state` immediately and its progress "
        "at most every 0.3 seconds: a statement that begins or ends. For the rows and notices of a "
        "running statement, follow its run with `queryStatus`. Completes when the script has "
        "ended. Fails with `NOT_FOUND` if the viewer has no such script.",
        who=SignedIn,
        type=ScriptRun,
    )
    async def script_status(self, info: Info, id: ScriptId) -> AsyncIterator[ScriptRunRow]:
        async for script in follow_script(info.context, parse_id("script", id)):
            yield script
