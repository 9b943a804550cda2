"""Table of database sessions."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Text,
    UniqueConstraint,
    func,
    text,
)

from db.database_sessions.rows import SessionState
from db.kit.base import Base, HasId, HasOwner, Mapped, mapped_column


class DatabaseSession(HasId, HasOwner, Base):
    """A connection to a user's database that is held across requests, by one process."""

    __tablename__ = "database_sessions"

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    connection_id: Mapped[UUID | None]
    name: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, server_default=SessionState.OPENING)
    autocommit: Mapped[bool]
    read_only: Mapped[bool]
    isolation_level: Mapped[str | None] = mapped_column(Text)
    idle_timeout_ms: Mapped[int] = mapped_column(BigInteger)
    transaction_timeout_ms: Mapped[int] = mapped_column(BigInteger)
    for_script: Mapped[bool] = mapped_column(server_default=text("false"))
    process: Mapped[int] = mapped_column(BigInteger)
    backend_pid: Mapped[int | None]
    backend_started_at: Mapped[str | None] = mapped_column(Text)
    statement_count: Mapped[int] = mapped_column(server_default="0")
    warning: Mapped[str | None] = mapped_column(Text)
    """The reason for which the session will close at `expires_at`, shortly before it does."""
    revision: Mapped[int] = mapped_column(server_default="1")
    close_reason: Mapped[str | None] = mapped_column(Text)
    transaction_started_at: Mapped[datetime | None]
    opened_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]
    close_requested_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(
            "(closed_at IS NULL) = (state <> 'CLOSED') AND"
            " (closed_at IS NULL) = (close_reason IS NULL)",
            name="closed",
        ),
        UniqueConstraint("id", "owner_id"),
        ForeignKeyConstraint(
            ["connection_id", "owner_id"],
            ["database_connections.id", "database_connections.owner_id"],
            name="fk_database_sessions_connection",
            ondelete="SET NULL (connection_id)",
        ),
        Index("ix_database_sessions_created", "owner_id", "opened_at", "id"),
        Index("ix_database_sessions_connection", "connection_id", "owner_id"),
        Index("ix_database_sessions_ended", "closed_at"),
        Index(
            "ix_database_sessions_open",
            "owner_id",
            "opened_at",
            "id",
            postgresql_where=text("closed_at IS NULL"),
        ),
    )
