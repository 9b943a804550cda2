"""The mutation that changes rows of a table by their key."""

from typing import Annotated

import strawberry

from db.user_networks import remember_network
from db.users.throttle import network_of
from db.workbench.changes.change_request import ChangeRequest, RawChange
from db.workbench.execution.request.run_request import changes_forbidden
from graph.auth import SignedIn
from graph.context import Info
from graph.kit.fields import argument, mutation, provided_fields
from graph.kit.scopes import WORKBENCH
from graph.runs.changes.change_inputs import ChangeRowsInput
from graph.runs.changes.change_types import ChangeRowsPayload, ChangeRowsResult
from graph.runs.resolvers import MAX_WAIT_MS, checked_wait_ms, parse_destination

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
        fields = provided_fields(input)
        wait_ms = fields.pop("wait_ms", None)
        wait_ms = MAX_WAIT_MS if wait_ms is None else checked_wait_ms(wait_ms)
        key = fields.pop("idempotency_key", None)
        fields |= parse_destination(
            fields.pop("connection_id", None), fields.pop("session_id", None)
        )
        fields["dry_run"] = bool(fields.get("dry_run"))
        fields["changes"] = [RawChange(**provided_fields(change)) for change in input.changes]
        if info.context.signed_in.must_read_only:
            raise changes_forbidden("This access token may only read.")
        runner, owner = info.context.services.runner, info.context.owner
        request = ChangeRequest(**fields).to_run_request()
        remember_network(owner, network_of(info.context.client_address))
        run, replayed = await runner.submit(owner, request, key=key)
        info.context.release_slot()
        run = await runner.wait_until_finished(owner, run.id, within_s=wait_ms / 1000)
        return ChangeRowsResult(run, replayed)
