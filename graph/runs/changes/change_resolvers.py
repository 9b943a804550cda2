"""The mutation that changes rows of a table by their key."""

from typing import Annotated

import strawberry

from db.workbench.changes.change_request import ChangeRequest, RawChange
from db.workbench.execution.request.run_request import changes_forbidden
from graph.auth import SignedIn
from graph.context import Info
from graph.kit.fields import argument, mutation, provided_fields
from graph.kit.scopes import WORKBENCH
from graph.runs.changes.change_inputs import ChangeRowsInput
from graph.runs.changes.change_types import ChangeRowsPayload, ChangeRowsResult
from graph.runs.submission import parse_destination, take_wait_ms, wait_for_end

SCOPES = WORKBENCH


@strawberry.type
class Mutation:
    @mutation(
        "Inserts, updates and deletes rows of a table by their key in one transaction: all "
        "changes, or none. A row that was changed since it was read is one of `conflicts`, and an "
        "error of PostgreSQL is in `error`: neither is a GraphQL error. Fails with `FORBIDDEN` if "
        "the connection or the session is read-only.",
        who=SignedIn,
        type=ChangeRowsPayload,
    )
    async def change_rows(
        self, info: Info, input: Annotated[ChangeRowsInput, argument("Changes to make.")]
    ) -> ChangeRowsResult:
        context, fields = info.context, provided_fields(input)
        wait_ms = take_wait_ms(fields)
        key = fields.pop("idempotency_key", None)
        parse_destination(fields)
        fields["changes"] = [RawChange(**provided_fields(change)) for change in input.changes]
        if context.signed_in.must_read_only:
            raise changes_forbidden("This access token may only read.")
        request = ChangeRequest(**fields).to_run_request()
        context.remember_network()
        run, replayed = await context.services.runner.submit(context.owner, request, key=key)
        return ChangeRowsResult(await wait_for_end(context, run, wait_ms), replayed)
