"""The installation that a database belongs to, and the place where it was recorded."""

import sqlalchemy as sa

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("single", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("copied_from", sa.Uuid()),
        sa.Column("system_identifier", sa.Text()),
        sa.Column("database_oid", sa.BigInteger(), nullable=False),
        sa.Column("database_name", sa.Text(), nullable=False),
        sa.CheckConstraint("single", name="one_row"),
        sa.PrimaryKeyConstraint("single"),
    )


def downgrade() -> None:
    op.drop_table("installation")
