"""The table of the processes that serve this database."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB

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
