"""Suspended users, and what a user sees of their sessions."""

import sqlalchemy as sa

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    at = sa.DateTime(timezone=True)
    op.add_column("users", sa.Column("suspended_at", at))
    op.create_index("ix_users_created", "users", ["created_at", "id"])
    op.add_column("sessions", sa.Column("address", sa.Text()))
    op.add_column("sessions", sa.Column("user_agent", sa.Text()))
    op.add_column(
        "sessions",
        sa.Column("last_used_at", at, server_default=sa.text("now()"), nullable=False),
    )


def downgrade() -> None:
    for name in ("last_used_at", "user_agent", "address"):
        op.drop_column("sessions", name)
    op.drop_index("ix_users_created", "users")
    op.drop_column("users", "suspended_at")
