"""Scripts, and the place of a run in its script."""

from typing import Any

import sqlalchemy as sa

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_AT = sa.DateTime(timezone=True)
_IS_ACTIVE = sa.text("state IN ('QUEUED', 'RUNNING')")
_POSITION = ("script_index", "statement_start", "statement_end", "statement_line")


def upgrade() -> None:
    op.create_table("script_runs", *_columns(), *_outcome(), *_rules())
    op.create_index("ix_script_runs_owner", "script_runs", ["owner_id", "created_at"])
    op.create_index("ix_script_runs_connection", "script_runs", ["connection_id", "owner_id"])
    op.create_index("ix_script_runs_session", "script_runs", ["session_id", "owner_id"])
    op.create_index("ix_script_runs_expires", "script_runs", ["expires_at"])
    op.create_index(
        "ix_script_runs_active", "script_runs", ["owner_id", "id"], postgresql_where=_IS_ACTIVE
    )
    op.add_column("query_runs", sa.Column("script_id", sa.Uuid()))
    for name in (*_POSITION, "statement_column"):
        op.add_column("query_runs", sa.Column(name, sa.Integer()))
    op.create_foreign_key(
        "fk_query_runs_script_id_owner_id_script_runs",
        "query_runs",
        "script_runs",
        ["script_id", "owner_id"],
        ["id", "owner_id"],
        ondelete="SET NULL (script_id)",
    )
    op.create_index("ix_query_runs_script", "query_runs", ["script_id", "script_index"])


def downgrade() -> None:
    for name in ("statement_column", *reversed(_POSITION), "script_id"):
        op.drop_column("query_runs", name)
    op.drop_table("script_runs")


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid()),
        sa.Column("session_id", sa.Uuid()),
        sa.Column("owns_session", sa.Boolean(), nullable=False),
        sa.Column("script", sa.Text(), nullable=False),
        sa.Column("statement_count", sa.Integer(), nullable=False),
        sa.Column("on_error", sa.Text(), nullable=False),
        sa.Column("transaction", sa.Text(), nullable=False),
        sa.Column("read_only", sa.Boolean(), nullable=False),
        sa.Column("timeout_ms", sa.BigInteger(), nullable=False),
        sa.Column("max_rows", sa.BigInteger(), nullable=False),
        sa.Column("max_bytes", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
    ]


def _outcome() -> list[sa.Column[Any]]:
    return [
        sa.Column("state", sa.Text(), server_default="QUEUED", nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("current_index", sa.Integer()),
        sa.Column("succeeded_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("created_at", _AT, server_default=sa.func.now(), nullable=False),
        sa.Column("started_at", _AT),
        sa.Column("finished_at", _AT),
        sa.Column("cancel_requested_at", _AT),
        sa.Column("expires_at", _AT),
    ]


def _rules() -> list[Any]:
    return [
        sa.PrimaryKeyConstraint("id", name="pk_script_runs"),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name="fk_script_runs_owner_id_users", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["connection_id", "owner_id"],
            ["database_connections.id", "database_connections.owner_id"],
            name="fk_script_runs_connection",
            ondelete="SET NULL (connection_id)",
        ),
        sa.ForeignKeyConstraint(
            ["session_id", "owner_id"],
            ["database_sessions.id", "database_sessions.owner_id"],
            name="fk_script_runs_session",
            ondelete="SET NULL (session_id)",
        ),
        sa.UniqueConstraint("id", "owner_id", name="uq_script_runs_id_owner_id"),
        sa.CheckConstraint(
            "(finished_at IS NULL) = (state IN ('QUEUED', 'RUNNING'))", name="ck_script_runs_over"
        ),
    ]
