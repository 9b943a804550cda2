"""The events that concern one user."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, Select, Text, any_, bindparam, func, or_
from sqlalchemy.sql import ClauseElement

from db.kit.audit import AuditEvent
from db.kit.base import TimestampText
from db.kit.lists.paging import Page, PageShape, SortOrder, Window
from db.kit.repository import Repository, S
from db.kit.text_rules import Required
from db.postgres.statements import statement

NEWEST = SortOrder("created_at", descending=True)

request_id_rule = Required("requestId", max_length=64)


class AuditEventRow(NamedTuple):
    id: UUID
    created_at: TimestampText
    kind: str
    outcome: str
    owner_id: UUID | None
    actor_id: UUID | None
    actor_email: str | None
    session_id: UUID | None
    token_id: UUID | None
    request_id: str
    address: str
    subject_id: UUID | None
    subject_name: str
    details: str


class AuditFilter(NamedTuple):
    """None matches every event."""

    kinds: tuple[str, ...] | None = None
    outcome: str | None = None
    user_id: UUID | None = None
    """The user whom the event concerns."""
    actor_id: UUID | None = None
    request_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    email: str | None = None
    """The address of the actor or of the subject, at that time."""

    @property
    def values(self) -> dict[str, Any]:
        """The values of the filters that are set; their names select the statement.

        A single kind has a name of its own, because it is found by an index in the order of time.
        """
        values = {name: value for name, value in self._asdict().items() if value is not None}
        if self.request_id is not None:
            values["request_id"] = request_id_rule.checked(self.request_id)
        if self.kinds is not None and len(self.kinds) == 1:
            values["kind"] = values.pop("kinds")[0]
        return values

    def matches(self, event: AuditEventRow) -> bool:
        """Whether a new event satisfies the conditions of a reader who follows the log."""
        return (
            (self.kinds is None or event.kind in self.kinds)
            and (self.user_id is None or event.owner_id == self.user_id)
            and (self.email is None or self.email in {event.actor_email, event.subject_name})
        )


class AuditEvents(Repository[AuditEventRow, S]):
    """Read only: `db.kit.audit.record` adds events."""

    model = AuditEvent
    row = AuditEventRow
    noun = "audit event"

    async def page(self, window: Window, filters: AuditFilter) -> Page[AuditEventRow]:
        values = filters.values
        return await self.fetch_page(
            self._page(tuple(values), window.shape), window, NEWEST, **values
        )

    async def count(self, filters: AuditFilter) -> int:
        values = filters.values
        return int(await self.value(self._count(tuple(values)), **values))

    @statement
    def _page(cls, filters: tuple[str, ...], shape: PageShape) -> ClauseElement:
        return cls.page_of(filters, shape)

    @statement
    def _count(cls, filters: tuple[str, ...]) -> ClauseElement:
        return cls.count_of(filters)

    @classmethod
    def page_of(cls, filters: tuple[str, ...], shape: PageShape) -> Select[Any]:
        return cls.select_page(cls._filtered(cls.owned(), filters), NEWEST, shape)

    @classmethod
    def count_of(cls, filters: tuple[str, ...]) -> Select[Any]:
        return cls._filtered(cls.owned(func.count()).select_from(cls.table()), filters)

    @classmethod
    def _filtered(cls, query: Select[Any], filters: tuple[str, ...]) -> Select[Any]:
        event = cls.table().c

        def value(name: str, column: Any) -> Any:
            return bindparam(name, type_=column.type)

        email = value("email", event.actor_email)
        conditions = {
            "email": or_(event.actor_email == email, event.subject_name == email),
            "kind": event.kind == value("kind", event.kind),
            "kinds": event.kind == any_(bindparam("kinds", type_=ARRAY(Text))),
            "outcome": event.outcome == value("outcome", event.outcome),
            "user_id": event.owner_id == value("user_id", event.owner_id),
            "actor_id": event.actor_id == value("actor_id", event.actor_id),
            "request_id": event.request_id == value("request_id", event.request_id),
            "created_after": event.created_at > value("created_after", event.created_at),
            "created_before": event.created_at < value("created_before", event.created_at),
        }
        return query.where(*(conditions[name] for name in filters))
