"""The events in the order of their transactions, for readers that miss none: the JSON stream.

An event becomes readable when every transaction that began to write before its own has ended, so
that no event appears before the position that a reader has reached.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Uuid, bindparam, text, true

from db.audit.repository import AuditEventRow
from db.audit.unscoped import EVENTS_AFTER
from db.kit.base import Base, Mapped, mapped_column
from db.postgres.engine import Database
from db.postgres.sessions import ReadSession, Session
from db.postgres.statements import compile_change, compile_statement

log = logging.getLogger(__name__)

BATCH = 500

Write = Callable[[Sequence[AuditEventRow]], Awaitable[None]]

_NEXT = compile_statement(
    text("""SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
                   pg_snapshot_xmax(pg_current_snapshot())::text::bigint""")
)
_POSITION = compile_statement(text("SELECT position, last_id FROM audit_stream"))
_CLAIM = compile_statement(
    text("SELECT position, last_id FROM audit_stream FOR UPDATE SKIP LOCKED")
)
_PARAMETERS = (bindparam("position", type_=BigInteger()), bindparam("last_id", type_=Uuid()))
_BEGIN = compile_change(
    text("""INSERT INTO audit_stream (position, last_id) VALUES (:position, :last_id)
        ON CONFLICT (single) DO NOTHING""").bindparams(*_PARAMETERS)
)
_ADVANCE = compile_change(
    text("UPDATE audit_stream SET position = :position, last_id = :last_id").bindparams(
        *_PARAMETERS
    )
)


class AuditStream(Base):
    """One row: how far the stream of this database was written. Backups omit it."""

    __tablename__ = "audit_stream"

    single: Mapped[bool] = mapped_column(primary_key=True, server_default=true())
    position: Mapped[int] = mapped_column(BigInteger)
    last_id: Mapped[UUID]

    __table_args__ = (CheckConstraint("single", name="one_row"),)


class StreamPosition(NamedTuple):
    """The transaction and the ID of the last event that was read."""

    position: int
    last_id: UUID


async def present_position(session: ReadSession) -> StreamPosition:
    """The position after all events that are readable now."""
    xmin, _ = await session.row(_NEXT) or (0, 0)
    return StreamPosition(xmin - 1, UUID(int=2**128 - 1))


async def events_after(
    session: ReadSession, at: StreamPosition, *, batch: int = BATCH
) -> tuple[Sequence[AuditEventRow], StreamPosition]:
    """Up to `batch` events after a position, and the position after them."""
    found = await session.rows(EVENTS_AFTER, **at._asdict(), batch=batch)
    if found:
        at = StreamPosition(found[-1][0], found[-1][1])
    return [AuditEventRow(*row[1:]) for row in found], at


async def begin_stream(database: Database) -> None:
    """The first time, the stream of a database begins with the events that follow."""
    async with database.read() as session:
        present = await present_position(session)
    await database.write(lambda session: session.rows(_BEGIN, **present._asdict()))


async def write_next(database: Database, write: Write) -> int:
    """Writes the next events, unless another process does; returns their number.

    Each is written at least once: again, if the process ends between the writing and the commit.
    """
    if not await _has_next(database):
        return 0

    async def work(session: Session) -> int:
        claimed = await session.row(_CLAIM)
        if claimed is None:
            return 0
        at = await _checked(session, StreamPosition(*claimed))
        events, after = await events_after(session, at)
        if events:
            await write(events)
        if after != StreamPosition(*claimed):
            await session.rows(_ADVANCE, **after._asdict())
        return len(events)

    return await database.transaction(work)


async def _has_next(database: Database) -> bool:
    """Whether the position is to be advanced. Reads only, because most calls find nothing."""
    async with database.read() as session:
        found = await session.row(_POSITION)
        if found is None:
            return False
        at = StreamPosition(*found)
        events, _ = await events_after(session, at, batch=1)
        return bool(events) or await _checked(session, at) != at


async def _checked(session: ReadSession, at: StreamPosition) -> StreamPosition:
    """A database that was copied to another cluster counts transactions anew."""
    _, xmax = await session.row(_NEXT) or (0, 0)
    if at.position < xmax:
        return at
    log.warning("the audit stream begins anew: this database was copied from another cluster")
    return await present_position(session)
