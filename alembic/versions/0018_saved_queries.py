"""Saved queries with their versions, the saved query of a run, and an index of public buckets."""

import sqlalchemy as sa

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_AT = sa.DateTime(timezone=True)
_SORT_NAME = sa.Computed("lower(name)", persisted=True)
_SEARCH_TEXT = sa.Computed("lower((name || chr(10)) || text)", persisted=True)
LISTS = {
    "ix_saved_queries_created": "created_at",
    "ix_saved_queries_updated": "updated_at",
    "ix_saved_queries_name": "sort_name",
}


def upgrade() -> None:
    create_saved_queries()
    create_versions()
    op.add_column("query_runs", sa.Column("saved_query_id", sa.Uuid()))
    op.create_foreign_key(
        "fk_query_runs_saved_query_id_owner_id_saved_queries",
        "query_runs",
        "saved_queries",
        ["saved_query_id", "owner_id"],
        ["id", "owner_id"],
        ondelete="SET NULL (saved_query_id)",
    )
    op.create_index(
        "ix_query_runs_saved_query",
        "query_runs",
        ["saved_query_id", "owner_id"],
        postgresql_where=sa.text("saved_query_id IS NOT NULL"),
    )
    op.create_index(
        "ix_buckets_public",
        "buckets",
        ["created_at", "id"],
        postgresql_where=sa.text("NOT private"),
    )


def create_saved_queries() -> None:
    op.create_table(
        "saved_queries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text(collation="C"), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("connection_id", sa.Uuid()),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("sort_name", sa.Text(), _SORT_NAME, nullable=False),
        sa.Column("search_text", sa.Text(), _SEARCH_TEXT, nullable=False),
        sa.Column("created_at", _AT, server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", _AT, server_default=sa.func.now(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_saved_queries"),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name="fk_saved_queries_owner_id_users", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["connection_id", "owner_id"],
            ["database_connections.id", "database_connections.owner_id"],
            name="fk_saved_queries_connection_id_owner_id_database_connections",
            ondelete="SET NULL (connection_id)",
        ),
        sa.UniqueConstraint("id", "owner_id", name="uq_saved_queries_id_owner_id"),
        sa.UniqueConstraint(
            "owner_id", "folder", "name", name="uq_saved_queries_owner_id_folder_name"
        ),
    )
    op.create_index("ix_saved_queries_connection", "saved_queries", ["connection_id", "owner_id"])
    for name, column in LISTS.items():
        op.create_index(name, "saved_queries", ["owner_id", column, "id"])
    op.create_index(
        "ix_saved_queries_search",
        "saved_queries",
        ["owner_id", "search_text"],
        postgresql_using="gin",
        postgresql_ops={"search_text": "gin_trgm_ops"},
    )


def create_versions() -> None:
    op.create_table(
        "saved_query_versions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("saved_query_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text(collation="C"), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("saved_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_saved_query_versions"),
        sa.ForeignKeyConstraint(
            ["saved_query_id", "owner_id"],
            ["saved_queries.id", "saved_queries.owner_id"],
            name="fk_saved_query_versions_saved_query_id_owner_id_saved_queries",
            ondelete="CASCADE",
        ),
    )
    op.create_index(
        "ix_saved_query_versions_saved",
        "saved_query_versions",
        ["saved_query_id", "saved_at", "id"],
    )


def downgrade() -> None:
    op.drop_index("ix_buckets_public", "buckets")
    op.drop_column("query_runs", "saved_query_id")
    op.drop_table("saved_query_versions")
    op.drop_table("saved_queries")
