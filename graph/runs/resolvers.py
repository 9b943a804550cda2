"""Runs: statements on the viewer's databases, followed, cancelled, paged, and their history."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated
from uuid import UUID

import strawberry

from db.errors import BadInput
from db.runs import RunFilter, RunRow, Runs
from db.workbench.execution.run_request import Order
from db.workbench.exports import Export, export
from graph.auth import SignedIn
from graph.context import Info
from graph.kit.fields import argument, given, mutation, query, subscription
from graph.kit.ids import parse_id
from graph.kit.paging import After, Before, Connection, First, Last, Listing, window
from graph.runs.inputs import (
    CancelOutcome,
    CancelQueryInput,
    CancelQueryPayload,
    DeleteQueryRunInput,
    DeleteQueryRunPayload,
    ExecuteQueryInput,
    ExecuteQueryPayload,
    ExportQueryRunInput,
    ExportQueryRunPayload,
)
from graph.runs.live_status import follow_active, follow_run
from graph.runs.types import QueryRun, RunById, RunState

LONGEST_WAIT_MS = 30_000

RunId = Annotated[strawberry.ID, argument("The id of a run.")]


@strawberry.type
class Query:
    """What can be asked."""

    @query("One of my runs; null when I have none of this id.", who=SignedIn, type=QueryRun | None)
    async def query_run(self, info: Info, id: RunId) -> RunRow | None:
        return await RunById.of(info.context).load(parse_id("run", id))

    @query("My runs, newest first.", who=SignedIn, type=Connection[QueryRun])
    async def query_runs(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        connection_id: Annotated[
            strawberry.ID | None, argument("Only those on this connection.")
        ] = None,
        states: Annotated[
            list[RunState] | None, argument("Only those in one of these states.")
        ] = None,
        search: Annotated[
            str | None, argument("Only those with this in their statement, in any case.")
        ] = None,
    ) -> Listing:
        context = info.context
        asked = window(context, first=first, after=after, last=last, before=before)
        which = RunFilter(
            connection_id=_connection(connection_id),
            states=None if states is None else tuple(state.value for state in states),
            search=search,
        )
        read = context.read if search is None else context.search
        page = await read(Runs, lambda runs: runs.page(asked, which))
        return Listing(page, lambda: read(Runs, lambda runs: runs.count(which)))

    @query("My runs that are queued or running, oldest first.", who=SignedIn, type=list[QueryRun])
    async def active_queries(self, info: Info) -> Sequence[RunRow]:
        return await info.context.read(Runs, Runs.active)


@strawberry.type
class Mutation:
    """What can be changed."""

    @mutation("Runs a statement on one of my databases.", who=SignedIn)
    async def execute_query(
        self, info: Info, input: Annotated[ExecuteQueryInput, argument("The statement.")]
    ) -> ExecuteQueryPayload:
        asked = given(input)
        wait_ms = _wait_ms(asked.pop("wait_ms", None))
        key = asked.pop("idempotency_key", None)
        asked["connection_id"] = parse_id("conn", asked["connection_id"], argument="connectionId")
        runner, owner = info.context.services.runner, info.context.owner
        run, replayed = await runner.execute(owner, Order(**asked), key=key)
        if wait_ms:
            info.context.end_turn()
            run = await runner.until_over(owner, run.id, within_s=wait_ms / 1000)
        return ExecuteQueryPayload(run=run, replayed=replayed)

    @mutation("Ends a run, within two seconds.", who=SignedIn, urgent=True)
    async def cancel_query(
        self, info: Info, input: Annotated[CancelQueryInput, argument("The run.")]
    ) -> CancelQueryPayload:
        runner, owner = info.context.services.runner, info.context.owner
        verdict = await runner.cancel(owner, parse_id("run", input.id))
        return CancelQueryPayload(
            run=verdict.run,
            outcome=CancelOutcome(verdict.outcome),
            latency_ms=verdict.latency_ms,
            connection_usable=verdict.connection_usable,
        )

    @mutation("Writes the result of a run into a file of one of my buckets.", who=SignedIn)
    async def export_query_run(
        self, info: Info, input: Annotated[ExportQueryRunInput, argument("What, and where to.")]
    ) -> ExportQueryRunPayload:
        asked = given(input)
        key = asked.pop("idempotency_key", None)
        run_id = parse_id("run", asked.pop("id"))
        asked["bucket_id"] = parse_id("bucket", asked["bucket_id"], argument="bucketId")
        asked["format"] = input.format.value
        info.context.end_turn()
        services, owner = info.context.services, info.context.owner
        file = await export(services, owner, Export(run_id, **asked), idempotency_key=key)
        return ExportQueryRunPayload(file=file)

    @mutation("Deletes a run that has ended, with its result.", who=SignedIn)
    async def delete_query_run(
        self, info: Info, input: Annotated[DeleteQueryRunInput, argument("The run.")]
    ) -> DeleteQueryRunPayload:
        runner, owner = info.context.services.runner, info.context.owner
        await runner.delete(owner, parse_id("run", input.id))
        return DeleteQueryRunPayload(deleted_query_run_id=input.id)


@strawberry.type
class Subscription:
    """What can be followed."""

    @subscription(
        "A run as it is now, then as it changes, until it has ended.", who=SignedIn, type=QueryRun
    )
    async def query_status(self, info: Info, id: RunId) -> AsyncIterator[RunRow]:
        async for run in follow_run(info.context, parse_id("run", id)):
            yield run

    @subscription(
        "My runs that are queued or running, whenever one begins or ends.",
        who=SignedIn,
        type=list[QueryRun],
    )
    async def active_queries_changed(self, info: Info) -> AsyncIterator[Sequence[RunRow]]:
        async for runs in follow_active(info.context):
            yield runs


def _connection(asked: str | None) -> UUID | None:
    return None if asked is None else parse_id("conn", asked, argument="connectionId")


def _wait_ms(asked: int | None) -> int:
    if asked is not None and not 0 <= asked <= LONGEST_WAIT_MS:
        raise BadInput(
            f"`waitMs` must be from 0 to {LONGEST_WAIT_MS}.",
            hint="Follow the run with `queryStatus` when it takes longer.",
            field="waitMs",
        )
    return asked or 0
