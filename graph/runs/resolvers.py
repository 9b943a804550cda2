"""Queries, mutations and subscriptions on query runs."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import strawberry

from db.kit.lists.paging import Window
from db.runs import RunFilter, RunRow, Runs, RunState
from db.workbench.execution.request.run_request import RunRequest
from db.workbench.exports import ExportRequest, export_result
from graph.auth import SignedIn
from graph.context import Info
from graph.kit.fields import argument, mutation, provided_fields, query, subscription
from graph.kit.ids import parse_id
from graph.kit.paging import Connection, Listing, paged
from graph.kit.scopes import STORAGE, TO_RUN, WORKBENCH
from graph.kit.selections import selects_any
from graph.runs.inputs import (
    CancelQueryInput,
    CancelQueryPayload,
    DeleteQueryRunInput,
    DeleteQueryRunPayload,
    ExecuteQueryInput,
    ExecuteQueryPayload,
    ExportQueryRunInput,
    ExportQueryRunPayload,
)
from graph.runs.live_samples import SAMPLED_FIELDS
from graph.runs.live_status import follow_active, follow_run
from graph.runs.saved_calls import parse_call
from graph.runs.submission import (
    apply_token_limits,
    parse_connection_id,
    parse_destination,
    take_wait_ms,
    wait_for_end,
)
from graph.runs.types import ActiveRuns, QueryRun, RunById

RunId = Annotated[strawberry.ID, argument("ID of the query run.")]

SCOPES = WORKBENCH


@strawberry.type
class Query:
    @query(
        "Fetches one of the viewer's query runs by ID. Returns null if the viewer has no such run.",
        who=SignedIn,
        type=QueryRun | None,
    )
    async def query_run(self, info: Info, id: RunId) -> RunRow | None:
        return await RunById.of(info.context).load(parse_id("run", id))

    @query("The viewer's query runs, newest first.", who=SignedIn, type=Connection[QueryRun])
    @paged
    async def query_runs(
        self,
        info: Info,
        window: Window,
        connection_id: Annotated[
            strawberry.ID | None, argument("Returns only runs on the connection with this ID.")
        ] = None,
        states: Annotated[
            list[RunState] | None, argument("Returns only runs in one of these states.")
        ] = None,
        search: Annotated[
            str | None,
            argument(
                "Returns only runs with this text in their statement, ignoring case. 1 to 200 "
                "characters."
            ),
        ] = None,
    ) -> Listing:
        context = info.context
        filters = RunFilter(
            connection_id=parse_connection_id(connection_id),
            states=None if states is None else tuple(states),
            search=search,
        )
        read = context.read if search is None else context.search
        page = await read(Runs, lambda runs: runs.page(window, filters))
        return Listing(page, lambda: read(Runs, lambda runs: runs.count(filters)))

    @query(
        "The viewer's queued and running query runs, oldest first. Fails with `TOO_LARGE` if they "
        "have more than 16 MiB of statements and other texts.",
        who=SignedIn,
        type=list[QueryRun],
    )
    async def active_queries(self, info: Info) -> Sequence[RunRow]:
        return await ActiveRuns.of(info.context).load(None) or []


@strawberry.type
class Mutation:
    @mutation(
        "Starts a statement on one of the viewer's connections, or in one of their sessions. An "
        "error of the statement is returned in `run.error`. Fails with `CONFLICT` if the session "
        "is closed, and with `RATE_LIMITED` if too many of the viewer's runs are queued or "
        "running.",
        who=SignedIn,
        scopes=TO_RUN,
    )
    async def execute_query(
        self, info: Info, input: Annotated[ExecuteQueryInput, argument("Statement to execute.")]
    ) -> ExecuteQueryPayload:
        context, fields = info.context, provided_fields(input)
        wait_ms = take_wait_ms(fields)
        key = fields.pop("idempotency_key", None)
        saved_query_id = fields.pop("saved_query_id", None)
        parse_destination(fields, required=saved_query_id is None)
        fields = parse_call(saved_query_id, fields)
        await apply_token_limits(context, fields)
        context.remember_network()
        run, replayed = await context.services.runner.submit(
            context.owner, RunRequest(**fields), key=key
        )
        return ExecuteQueryPayload(run=await wait_for_end(context, run, wait_ms), replayed=replayed)

    @mutation(
        "Cancels a query run. Responds within two seconds, when the run has ended.",
        who=SignedIn,
        scopes=TO_RUN,
        urgent=True,
    )
    async def cancel_query(
        self, info: Info, input: Annotated[CancelQueryInput, argument("Query run to cancel.")]
    ) -> CancelQueryPayload:
        runner, owner = info.context.services.runner, info.context.owner
        result = await runner.cancel(owner, parse_id("run", input.id))
        return CancelQueryPayload(
            run=result.run,
            outcome=result.outcome,
            latency_ms=result.latency_ms,
            connection_usable=result.connection_usable,
        )

    @mutation(
        "Writes the result of an ended query run to a new file in one of the viewer's buckets. "
        "Responds when the file is stored. Fails with `CONFLICT` if the run has not ended or the "
        "location is in use, and with `NOT_FOUND` if the result is not stored any more.",
        who=SignedIn,
        scopes=WORKBENCH.read | STORAGE.write,
    )
    async def export_query_run(
        self, info: Info, input: Annotated[ExportQueryRunInput, argument("Result to export.")]
    ) -> ExportQueryRunPayload:
        fields = provided_fields(input)
        key = fields.pop("idempotency_key", None)
        run_id = parse_id("run", fields.pop("id"))
        fields["bucket_id"] = parse_id("bucket", input.bucket_id, argument="bucketId")
        info.context.release_slot()
        services, owner = info.context.services, info.context.owner
        info.context.remember_network()
        file = await export_result(
            services, owner, ExportRequest(run_id, **fields), idempotency_key=key
        )
        return ExportQueryRunPayload(file=file)

    @mutation(
        "Deletes a query run and its result. Fails with `CONFLICT` if the run has not ended.",
        who=SignedIn,
    )
    async def delete_query_run(
        self, info: Info, input: Annotated[DeleteQueryRunInput, argument("Query run to delete.")]
    ) -> DeleteQueryRunPayload:
        runner, owner = info.context.services.runner, info.context.owner
        await runner.delete(owner, parse_id("run", input.id))
        return DeleteQueryRunPayload(deleted_query_run_id=input.id)


@strawberry.type
class Subscription:
    @subscription(
        "Sends the current query run, then every change of its `state` immediately and its "
        "progress at most every 0.3 seconds. Completes when the run has ended. `progress` and "
        "`waiting` are read from the user's database every 0.5 seconds if they are selected, and "
        "sent when they have changed. Fails with `NOT_FOUND` if the viewer has no such run.",
        who=SignedIn,
        type=QueryRun,
    )
    async def query_status(self, info: Info, id: RunId) -> AsyncIterator[RunRow]:
        sampled = selects_any(info, SAMPLED_FIELDS)
        async for run in follow_run(info.context, parse_id("run", id), sampled=sampled):
            yield run

    @subscription(
        "Sends the viewer's queued and running query runs now and whenever a run is queued, starts "
        "or ends. Fails with `TOO_LARGE` as `activeQueries` does.",
        who=SignedIn,
        type=list[QueryRun],
    )
    async def active_queries_changed(self, info: Info) -> AsyncIterator[Sequence[RunRow]]:
        async for runs in follow_active(info.context):
            yield runs
