"""Database sessions: connections that users hold across requests, and the runs in them."""

from typing import Any

import sqlalchemy as sa

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_AT = sa.DateTime(timezone=True)
_IS_OPEN = sa.text("closed_at IS NULL")


def upgrade() -> None:
    op.create_table("database_sessions", *_columns(), *_times(), *_rules())
    for name, columns in (("created", ["owner_id", "opened_at", "id"]), ("ended", ["closed_at"])):
        op.create_index(f"ix_database_sessions_{name}", "database_sessions", columns)
    op.create_index(
        "ix_database_sessions_connection", "database_sessions", ["connection_id", "owner_id"]
    )
    op.create_index(
        "ix_database_sessions_open",
        "database_sessions",
        ["owner_id", "opened_at", "id"],
        postgresql_where=_IS_OPEN,
    )
    op.add_column("query_runs", sa.Column("session_id", sa.Uuid()))
    op.create_foreign_key(
        "fk_query_runs_session_id_owner_id_database_sessions",
        "query_runs",
        "database_sessions",
        ["session_id", "owner_id"],
        ["id", "owner_id"],
        ondelete="SET NULL (session_id)",
    )
    op.create_index("ix_query_runs_session", "query_runs", ["session_id", "created_at", "id"])


def downgrade() -> None:
    op.drop_column("query_runs", "session_id")
    op.drop_table("database_sessions")


def _columns() -> list[sa.Column[Any]]:
    no = sa.text("false")
    return [
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid()),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="OPENING", nullable=False),
        sa.Column("autocommit", sa.Boolean(), nullable=False),
        sa.Column("read_only", sa.Boolean(), nullable=False),
        sa.Column("isolation_level", sa.Text()),
        sa.Column("idle_timeout_ms", sa.BigInteger(), nullable=False),
        sa.Column("transaction_timeout_ms", sa.BigInteger(), nullable=False),
        sa.Column("for_script", sa.Boolean(), server_default=no, nullable=False),
        sa.Column("process", sa.BigInteger(), nullable=False),
        sa.Column("backend_pid", sa.Integer()),
        sa.Column("backend_started_at", sa.Text()),
        sa.Column("statement_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("warning", sa.Text()),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("close_reason", sa.Text()),
    ]


def _times() -> list[sa.Column[Any]]:
    return [
        sa.Column("process_missed_at", _AT),
        sa.Column("transaction_started_at", _AT),
        sa.Column("opened_at", _AT, server_default=sa.func.now(), nullable=False),
        sa.Column("last_used_at", _AT, server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", _AT),
        sa.Column("close_requested_at", _AT),
        sa.Column("closed_at", _AT),
    ]


def _rules() -> list[Any]:
    return [
        sa.PrimaryKeyConstraint("id", name="pk_database_sessions"),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["users.id"],
            name="fk_database_sessions_owner_id_users",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["connection_id", "owner_id"],
            ["database_connections.id", "database_connections.owner_id"],
            name="fk_database_sessions_connection",
            ondelete="SET NULL (connection_id)",
        ),
        sa.UniqueConstraint("id", "owner_id", name="uq_database_sessions_id_owner_id"),
        sa.CheckConstraint(
            "(closed_at IS NULL) = (state <> 'CLOSED') AND"
            " (closed_at IS NULL) = (close_reason IS NULL)",
            name="ck_database_sessions_closed",
        ),
    ]
