"""The processes that serve the database, whose heartbeats replace advisory locks."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_AT = sa.DateTime(timezone=True)
_NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.create_table(
        "replica_processes",
        sa.Column("process", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("started_at", _AT, server_default=_NOW, nullable=False),
        sa.Column("seen_at", _AT, server_default=_NOW, nullable=False),
        sa.Column("steady_since", _AT, server_default=_NOW, nullable=False),
        sa.Column("fenced_at", _AT),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("installation_id", sa.Uuid()),
        sa.Column(
            "fingerprints", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.PrimaryKeyConstraint("process", name="pk_replica_processes"),
    )
    for table in ("query_runs", "database_sessions"):
        op.drop_column(table, "process_missed_at")


def downgrade() -> None:
    for table in ("database_sessions", "query_runs"):
        op.add_column(table, sa.Column("process_missed_at", _AT))
    op.drop_table("replica_processes")
