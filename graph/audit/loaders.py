"""Loaders of audit events."""

from collections.abc import Mapping
from uuid import UUID

from db.audit import AuditEventRow, AuditEvents, UnscopedAuditEvents
from db.postgres.sessions import ReadSession
from graph.context import Context
from graph.kit.loaders import ById


def visible_events(context: Context) -> type[AuditEvents[ReadSession]]:
    """All events for an admin, else those that concern the viewer."""
    return UnscopedAuditEvents if context.signed_in.is_admin else AuditEvents


class AuditEventById(ById[AuditEventRow]):
    repository = AuditEvents

    async def batch(self, session: ReadSession, keys: list[UUID]) -> Mapping[UUID, AuditEventRow]:
        events = visible_events(self.context)(session, self.context.owner)
        return {event.id: event for event in await events.get_many(keys)}
