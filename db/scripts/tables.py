"""Table of scripts."""

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

from db.kit.base import Base, HasId, HasOwner, Mapped, mapped_column, sql_list
from db.scripts.rows import ACTIVE, ScriptState

_IS_ACTIVE = f"state IN {sql_list(ACTIVE)}"


class ScriptRun(HasId, HasOwner, Base):
    """One execution of a script. Its statements are runs."""

    __tablename__ = "script_runs"

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    connection_id: Mapped[UUID | None]
    session_id: Mapped[UUID | None]
    owns_session: Mapped[bool]
    """Whether the session was opened for this script, and is closed at its end."""
    script: Mapped[str] = mapped_column(Text)
    statement_count: Mapped[int]
    on_error: Mapped[str] = mapped_column(Text)
    transaction: Mapped[str] = mapped_column(Text)
    read_only: Mapped[bool]
    timeout_ms: Mapped[int] = mapped_column(BigInteger)
    max_rows: Mapped[int] = mapped_column(BigInteger)
    max_bytes: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, server_default=ScriptState.QUEUED)
    revision: Mapped[int] = mapped_column(server_default="1")
    current_index: Mapped[int | None]
    succeeded_count: Mapped[int] = mapped_column(server_default="0")
    failed_count: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(f"(finished_at IS NULL) = ({_IS_ACTIVE})", name="over"),
        UniqueConstraint("id", "owner_id"),
        ForeignKeyConstraint(
            ["connection_id", "owner_id"],
            ["database_connections.id", "database_connections.owner_id"],
            name="fk_script_runs_connection",
            ondelete="SET NULL (connection_id)",
        ),
        ForeignKeyConstraint(
            ["session_id", "owner_id"],
            ["database_sessions.id", "database_sessions.owner_id"],
            name="fk_script_runs_session",
            ondelete="SET NULL (session_id)",
        ),
        Index("ix_script_runs_owner", "owner_id", "created_at"),
        Index("ix_script_runs_connection", "connection_id", "owner_id"),
        Index("ix_script_runs_session", "session_id", "owner_id"),
        Index("ix_script_runs_active", "owner_id", "id", postgresql_where=text(_IS_ACTIVE)),
        Index("ix_script_runs_expires", "expires_at"),
    )
