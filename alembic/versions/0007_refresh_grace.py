"""The last rotation of a session: a repeated refresh gets the same successor."""

from typing import Any

import sqlalchemy as sa

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COLUMNS: dict[str, Any] = {
    "previous_hash": sa.LargeBinary(),
    "rotation_nonce": sa.LargeBinary(),
    "rotated_at": sa.DateTime(timezone=True),
}


def upgrade() -> None:
    for name, kind in COLUMNS.items():
        op.add_column("sessions", sa.Column(name, kind))


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("sessions", name)
