"""The file that a run copies into a table, and its size."""

import sqlalchemy as sa

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("query_runs", sa.Column("source", sa.Text()))
    op.add_column("query_runs", sa.Column("source_bytes", sa.BigInteger()))


def downgrade() -> None:
    op.drop_column("query_runs", "source_bytes")
    op.drop_column("query_runs", "source")
