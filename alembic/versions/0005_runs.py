"""Query runs, and the pages of their results."""

from typing import Any

import sqlalchemy as sa

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


_MOMENT = sa.DateTime(timezone=True)
_ACTIVE = sa.text("state IN ('QUEUED', 'RUNNING')")


def upgrade() -> None:
    _make_runs()
    _make_pages()


def downgrade() -> None:
    op.drop_table("query_run_pages")
    op.drop_table("query_runs")


def _make_runs() -> None:
    op.create_table("query_runs", *_order(), *_course(), *_outcome(), *_process(), *_rules())
    op.create_index("ix_query_runs_created", "query_runs", ["owner_id", "created_at", "id"])
    op.create_index("ix_query_runs_connection", "query_runs", ["connection_id", "owner_id"])
    op.create_index("ix_query_runs_expires", "query_runs", ["expires_at"])
    op.create_index(
        "ix_query_runs_active", "query_runs", ["owner_id", "id"], postgresql_where=_ACTIVE
    )


def _order() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid()),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("read_only", sa.Boolean(), nullable=False),
        sa.Column("timeout_ms", sa.BigInteger(), nullable=False),
        sa.Column("max_rows", sa.BigInteger(), nullable=False),
        sa.Column("max_bytes", sa.BigInteger(), nullable=False),
    ]


def _course() -> list[sa.Column[Any]]:
    return [
        sa.Column("state", sa.Text(), server_default="QUEUED", nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", _MOMENT, server_default=sa.func.now(), nullable=False),
        sa.Column("started_at", _MOMENT),
        sa.Column("finished_at", _MOMENT),
        sa.Column("cancel_requested_at", _MOMENT),
        sa.Column("expires_at", _MOMENT),
    ]


def _outcome() -> list[sa.Column[Any]]:
    return [
        sa.Column("columns", sa.Text()),
        sa.Column("row_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("result_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("rows_affected", sa.BigInteger()),
        sa.Column("command", sa.Text()),
        sa.Column("notices", sa.Text(), server_default="[]", nullable=False),
        sa.Column("truncated", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("cancel_outcome", sa.Text()),
        sa.Column("connection_usable", sa.Boolean()),
    ]


def _process() -> list[sa.Column[Any]]:
    return [
        sa.Column("process", sa.BigInteger(), nullable=False),
        sa.Column("process_missed_at", _MOMENT),
        sa.Column("backend_pid", sa.Integer()),
        sa.Column("backend_started_at", sa.Text()),
    ]


def _rules() -> list[sa.Constraint]:
    return [
        sa.CheckConstraint("(finished_at IS NULL) = (state IN ('QUEUED', 'RUNNING'))", name="over"),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name="fk_query_runs_owner_id_users", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["connection_id", "owner_id"],
            ["database_connections.id", "database_connections.owner_id"],
            name="fk_query_runs_connection_id_database_connections",
            ondelete="SET NULL (connection_id)",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_query_runs"),
        sa.UniqueConstraint("id", "owner_id", name="uq_query_runs_id_owner_id"),
    ]


def _make_pages() -> None:
    op.create_table(
        "query_run_pages",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("first_row", sa.BigInteger(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("marks", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "owner_id"],
            ["query_runs.id", "query_runs.owner_id"],
            name="fk_query_run_pages_run_id_query_runs",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "number", name="pk_query_run_pages"),
    )
