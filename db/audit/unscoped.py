"""The events of all users: for admins, whom the API checks, and for the sweep of old ones."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Integer,
    Select,
    Uuid,
    bindparam,
    literal_column,
    select,
    text,
    tuple_,
)
from sqlalchemy.sql import ClauseElement

from db.audit.repository import AuditEventRow, AuditEvents, AuditFilter
from db.kit.audit import AuditEvent
from db.kit.lists.paging import PageShape
from db.kit.repository import S, is_any_of
from db.postgres.sessions import ReadSession, Session
from db.postgres.statements import (
    compile_change,
    compile_statement,
    unscoped_statement,
)

_PERMIT_DELETION = compile_statement(
    text("SELECT set_config('howdah.audit_days', CAST(:days AS text), true)")
)
_DELETE_EXPIRED = compile_change(
    text("""DELETE FROM audit_events WHERE id IN (
            SELECT id FROM audit_events
            WHERE created_at < now() - make_interval(days => :days)
            ORDER BY created_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
        RETURNING 1"""),
    unscoped=True,
)


class UnscopedAuditEvents(AuditEvents[S]):
    """The events of all users, and those that concern none."""

    @classmethod
    def owned(cls, *columns: Any) -> Select[Any]:
        return select(*(columns or cls.columns()))

    @unscoped_statement
    def _by_id(cls) -> ClauseElement:
        return cls.owned().where(cls.table().c.id == bindparam("id"))

    @unscoped_statement
    def _by_ids(cls) -> ClauseElement:
        return cls.owned().where(is_any_of(cls.table().c.id))

    @unscoped_statement
    def _page(cls, filters: tuple[str, ...], shape: PageShape) -> ClauseElement:
        return cls.page_of(filters, shape)

    @unscoped_statement
    def _count(cls, filters: tuple[str, ...]) -> ClauseElement:
        return cls.count_of(filters)


_EVENT = AuditEvent.__table__.c
_FINISHED = literal_column("pg_snapshot_xmin(pg_current_snapshot())::text::bigint", BigInteger())
EVENTS_AFTER = compile_statement(
    select(_EVENT.position, *UnscopedAuditEvents.columns())
    .where(
        tuple_(_EVENT.position, _EVENT.id)
        > tuple_(bindparam("position", type_=BigInteger()), bindparam("last_id", type_=Uuid())),
        _EVENT.position < _FINISHED,
    )
    .order_by(_EVENT.position, _EVENT.id)
    .limit(bindparam("batch", type_=Integer())),
    unscoped=True,
)


async def newest_events(
    session: ReadSession, filters: AuditFilter, *, limit: int
) -> Sequence[AuditEventRow]:
    """For the operator, who is no user."""
    values = filters.values
    page = UnscopedAuditEvents._page(tuple(values), PageShape())  # noqa: SLF001 - of this module
    return [AuditEventRow(*row) for row in await session.rows(page, limit=limit, **values)]


async def sweep(session: Session, *, days: int) -> int:
    """Deletes a batch of events that are older than `days`, in a transaction; returns its size.

    The trigger of the table permits this only if the transaction names the number of days.
    """
    await session.rows(_PERMIT_DELETION, days=str(days))
    return len(await session.rows(_DELETE_EXPIRED, days=days))
