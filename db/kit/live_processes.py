"""The processes that serve this database, and the conditions that one is alive or was found dead.

The heartbeats are those of `db.replicas`.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Text, bindparam, exists, func, text
from sqlalchemy.dialects.postgresql import JSONB

from db.errors import Unavailable
from db.kit.base import Base, Mapped, mapped_column

HEARTBEAT_S = 3.0

GAP = timedelta(seconds=2 * HEARTBEAT_S)
"""A longer pause between two heartbeats of a process may have been a pause of the database."""

STEADY_AFTER = timedelta(seconds=10)
"""A process judges others after this time of steady heartbeats: the others had time for three."""

SILENT_AFTER = timedelta(seconds=15)
"""A process without a heartbeat for this long is dead: five heartbeats are missing."""


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


class UnendedBackend(Base):
    """A run or session of another process, with a backend that `process` has to terminate.

    Not part of a backup, as the processes.
    """

    __tablename__ = "unended_backends"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    process: Mapped[int] = mapped_column(BigInteger)


IS_LIVE = """EXISTS (
    SELECT 1 FROM replica_processes AS holder
    WHERE holder.process = held.process AND holder.fenced_at IS NULL)"""
"""SQL on a table with a column `process`, under the name `held`."""


IS_JUDGE = f"""EXISTS (
    SELECT 1 FROM replica_processes AS judge
    WHERE judge.process = :judge AND judge.fenced_at IS NULL
      AND judge.seen_at >= clock_timestamp() - interval '{GAP.total_seconds()} s'
      AND judge.steady_since < clock_timestamp() - interval '{STEADY_AFTER.total_seconds()} s')"""  # noqa: S608 - constants of this module
"""SQL: whether the heartbeats of the process `:judge` are steady, so that it may judge others.

After a pause of the database it may not, until all others had time to write.
"""


def is_judge() -> Any:
    """The same as an expression."""
    return text(IS_JUDGE).bindparams(bindparam("judge", type_=BigInteger()))


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
