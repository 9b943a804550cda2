"""Rows of small results, stored with their run instead of in the object store."""

import sqlalchemy as sa

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("query_runs", sa.Column("inline_rows", sa.LargeBinary()))


def downgrade() -> None:
    op.drop_column("query_runs", "inline_rows")
