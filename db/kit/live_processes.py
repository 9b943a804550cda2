"""The processes that serve this database, and the conditions that one is alive or was found dead.

The heartbeats are those of `db.replicas`.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Text, bindparam, exists, func, text
from sqlalchemy.dialects.postgresql import JSONB

from db.errors import Unavailable
from db.kit.base import Base, Mapped, mapped_column


class ReplicaProcess(Base):
    """A process that serves this database, under a number that it draws when it starts.

    All times are of PostgreSQL's clock. The table is not part of a backup: nothing serves a copy.
    """

    __tablename__ = "replica_processes"

    process: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    started_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    """The last heartbeat."""
    steady_since: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    """Since when its heartbeats have arrived without a gap: only a steady process judges others."""
    fenced_at: Mapped[datetime | None]
    """When another process found that the heartbeats had stopped: the number is dead for ever."""
    version: Mapped[str] = mapped_column(Text)
    host: Mapped[str] = mapped_column(Text)
    installation_id: Mapped[UUID | None]
    fingerprints: Mapped[object] = mapped_column(JSONB, server_default=text("'{}'"))
    """Digests of the settings that all replicas must share, by name."""


IS_LIVE = """EXISTS (
    SELECT 1 FROM replica_processes AS holder
    WHERE holder.process = held.process AND holder.fenced_at IS NULL)"""
"""SQL on a table with a column `process`, under the name `held`."""


def is_fenced() -> Any:
    """Whether `process`, a parameter, was found dead: it must begin nothing under this number."""
    holder = ReplicaProcess.__table__.c
    is_holder = holder.process == bindparam("process", type_=BigInteger())
    return exists().where(is_holder, holder.fenced_at.is_not(None))


def fenced_error() -> Unavailable:
    return Unavailable(
        "This server did not respond for a while, so the others took over its work.",
        hint="Try again: nothing was begun.",
        retry_after_s=1,
    )
