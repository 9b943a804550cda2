"""The backends on users' databases that a process has still to terminate for a dead one."""

import sqlalchemy as sa

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "unended_backends",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("process", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_unended_backends"),
    )


def downgrade() -> None:
    op.drop_table("unended_backends")
