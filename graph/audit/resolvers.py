"""Queries on the audit log."""

from typing import Annotated, Any

import strawberry

from db.audit import AuditFilter
from db.kit.lists.paging import Window
from graph.audit.loaders import visible_events
from graph.audit.types import AuditEvent, AuditEventFilter
from graph.auth import SignedIn
from graph.context import Info
from graph.kit.fields import argument, provided_fields, query
from graph.kit.ids import parse_id
from graph.kit.paging import Connection, Listing, paged
from graph.kit.scopes import ADMIN

SCOPES = ADMIN


@strawberry.type
class Query:
    @query(
        "Lists the events of the audit log, newest first: all of them for admins, for other users "
        "those that concern them. The operator sets how long events are kept.",
        who=SignedIn,
        type=Connection[AuditEvent],
    )
    @paged
    async def audit_events(
        self,
        info: Info,
        window: Window,
        filter: Annotated[
            AuditEventFilter | None, argument("Conditions to apply. Defaults to none.")
        ] = None,
    ) -> Listing:
        context = info.context
        filters = _parse_filter(filter)
        events = visible_events(context)
        page = await context.search(events, lambda rows: rows.page(window, filters))
        return Listing(page, lambda: context.search(events, lambda rows: rows.count(filters)))


def _parse_filter(given: AuditEventFilter | None) -> AuditFilter:
    fields: dict[str, Any] = {} if given is None else provided_fields(given)
    for name, argument_name in (("user_id", "userId"), ("actor_id", "actorId")):
        if fields.get(name) is not None:
            fields[name] = parse_id("user", fields[name], argument=argument_name)
    if fields.get("kinds") is not None:
        fields["kinds"] = tuple(fields["kinds"])
    return AuditFilter(**fields)
