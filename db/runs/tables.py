"""Tables of query runs and of their result pages."""

from collections.abc import Mapping
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
from db.runs.rows import ACTIVE, RunState

SAVED_QUERY_GONE: Mapping[str, tuple[str, str, str | None]] = {
    "fk_query_runs_saved_query_id_owner_id_saved_queries": (
        "This saved query was deleted meanwhile.",
        "Read the list of saved queries again.",
        "savedQueryId",
    )
}
"""For `Repository.conflicts` of those that insert runs."""

_IS_ACTIVE = f"state IN {sql_list(ACTIVE)}"


class QueryRun(HasId, HasOwner, Base):
    """One execution of a statement on a user's database."""

    __tablename__ = "query_runs"

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    connection_id: Mapped[UUID | None]
    statement: Mapped[str] = mapped_column(Text)
    parameters: Mapped[str] = mapped_column(Text)
    read_only: Mapped[bool]
    timeout_ms: Mapped[int] = mapped_column(BigInteger)
    max_rows: Mapped[int] = mapped_column(BigInteger)
    max_bytes: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(Text, server_default=RunState.QUEUED)
    revision: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    columns: Mapped[str | None] = mapped_column(Text)
    row_count: Mapped[int] = mapped_column(BigInteger, server_default="0")
    result_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    rows_affected: Mapped[int | None] = mapped_column(BigInteger)
    command: Mapped[str | None] = mapped_column(Text)
    notices: Mapped[str] = mapped_column(Text, server_default="[]")
    truncated: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    cancel_requested_at: Mapped[datetime | None]
    cancel_outcome: Mapped[str | None] = mapped_column(Text)
    connection_usable: Mapped[bool | None]
    expires_at: Mapped[datetime | None]
    process: Mapped[int] = mapped_column(BigInteger)
    backend_pid: Mapped[int | None]
    backend_started_at: Mapped[str | None] = mapped_column(Text)
    origin: Mapped[str | None] = mapped_column(Text)
    source: Mapped[str | None] = mapped_column(Text)
    source_bytes: Mapped[int | None] = mapped_column(BigInteger)
    inline_rows: Mapped[bytes | None]
    """All rows of a small result, as JSON lines. Null if there are none, or in pages."""
    session_id: Mapped[UUID | None]
    script_id: Mapped[UUID | None]
    script_index: Mapped[int | None]
    statement_start: Mapped[int | None]
    statement_end: Mapped[int | None]
    statement_line: Mapped[int | None]
    statement_column: Mapped[int | None]
    saved_query_id: Mapped[UUID | None]

    __table_args__ = (
        CheckConstraint(f"(finished_at IS NULL) = ({_IS_ACTIVE})", name="over"),
        UniqueConstraint("id", "owner_id"),
        ForeignKeyConstraint(
            ["connection_id", "owner_id"],
            ["database_connections.id", "database_connections.owner_id"],
            ondelete="SET NULL (connection_id)",
        ),
        ForeignKeyConstraint(
            ["session_id", "owner_id"],
            ["database_sessions.id", "database_sessions.owner_id"],
            ondelete="SET NULL (session_id)",
        ),
        ForeignKeyConstraint(
            ["script_id", "owner_id"],
            ["script_runs.id", "script_runs.owner_id"],
            ondelete="SET NULL (script_id)",
        ),
        ForeignKeyConstraint(
            ["saved_query_id", "owner_id"],
            ["saved_queries.id", "saved_queries.owner_id"],
            ondelete="SET NULL (saved_query_id)",
        ),
        Index("ix_query_runs_created", "owner_id", "created_at", "id"),
        Index("ix_query_runs_connection", "connection_id", "owner_id"),
        Index("ix_query_runs_active", "owner_id", "id", postgresql_where=text(_IS_ACTIVE)),
        Index("ix_query_runs_expires", "expires_at"),
        Index("ix_query_runs_session", "session_id", "created_at", "id"),
        Index("ix_query_runs_script", "script_id", "script_index"),
        Index(
            "ix_query_runs_saved_query",
            "saved_query_id",
            "owner_id",
            postgresql_where=text("saved_query_id IS NOT NULL"),
        ),
    )


class QueryRunPage(HasOwner, Base):
    """A page of result rows in the object store."""

    __tablename__ = "query_run_pages"

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    first_row: Mapped[int] = mapped_column(BigInteger)
    row_count: Mapped[int]
    size: Mapped[int]
    marks: Mapped[str] = mapped_column(Text)

    __table_args__ = (
        ForeignKeyConstraint(
            ["run_id", "owner_id"], ["query_runs.id", "query_runs.owner_id"], ondelete="CASCADE"
        ),
    )
