"""Versions, replacements, folders and names of files, and the chunks of resumable uploads."""

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

PARTS = {
    "folder": "regexp_replace(location, '[^/]*$', '')",
    "name": "regexp_replace(location, '^.*/', '')",
}


def upgrade() -> None:
    version = sa.Column("version", sa.Integer(), server_default="1", nullable=False)
    op.add_column("files", version)
    for name, kind in COLUMNS.items():
        op.add_column("files", sa.Column(name, kind))
    for name, expression in PARTS.items():
        kind, computed = sa.Text(collation="C"), sa.Computed(expression, persisted=True)
        op.add_column("files", sa.Column(name, kind, computed, nullable=False))
    op.create_index(
        "ix_files_bucket_id_folder_name_id",
        "files",
        ["bucket_id", "folder", "name", "id"],
        postgresql_include=["owner_id"],
    )
    op.create_check_constraint("replacement_size", "files", "replacement_size >= 0")
    op.create_index(
        "ix_files_replacing",
        "files",
        ["owner_id"],
        postgresql_where=sa.text("replacement_size IS NOT NULL"),
    )
    _chunks()


def _chunks() -> None:
    op.create_table(
        "file_chunks",
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id", "owner_id"],
            ["files.id", "files.owner_id"],
            name="fk_file_chunks_file_id_owner_id_files",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("position >= 0 AND size > 0", name="bytes"),
        sa.PrimaryKeyConstraint("file_id", "upload_id", "position", name="pk_file_chunks"),
    )
    op.create_index("ix_file_chunks_object_id", "file_chunks", ["object_id"])


def downgrade() -> None:
    op.drop_table("file_chunks")
    op.drop_index("ix_files_replacing", "files")
    op.drop_index("ix_files_bucket_id_folder_name_id", "files")
    for name in PARTS:
        op.drop_column("files", name)
    op.drop_constraint("replacement_size", "files", type_="check")
    for name in reversed(COLUMNS):
        op.drop_column("files", name)
    op.drop_column("files", "version")
