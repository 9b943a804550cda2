"""The version of files, and the pending replacement of their bytes."""

from typing import Any

import sqlalchemy as sa

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)

COLUMNS: dict[str, Any] = {
    "object_location": sa.Text(),
    "previous_object_id": sa.Uuid(),
    "replaced_at": _TIMESTAMP,
    "replacement_id": sa.Uuid(),
    "replacement_size": sa.BigInteger(),
    "replacement_content_type": sa.Text(),
    "replacement_created_at": _TIMESTAMP,
}


def upgrade() -> None:
    version = sa.Column("version", sa.Integer(), server_default="1", nullable=False)
    op.add_column("files", version)
    for name, kind in COLUMNS.items():
        op.add_column("files", sa.Column(name, kind))
    op.create_check_constraint("replacement_size", "files", "replacement_size >= 0")
    op.create_index(
        "ix_files_replacing",
        "files",
        ["owner_id"],
        postgresql_where=sa.text("replacement_size IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_files_replacing", "files")
    op.drop_constraint("replacement_size", "files", type_="check")
    for name in reversed(COLUMNS):
        op.drop_column("files", name)
    op.drop_column("files", "version")
