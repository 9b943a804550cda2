"""Tasks, and the idempotency keys of retried requests."""

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIMESTAMP = sa.DateTime(timezone=True)
LISTS = {
    "ix_tasks_created": ["created_at"],
    "ix_tasks_updated": ["updated_at"],
    "ix_tasks_title": ["sort_title"],
    "ix_tasks_completed_created": ["completed", "created_at"],
    "ix_tasks_completed_updated": ["completed", "updated_at"],
    "ix_tasks_completed_title": ["completed", "sort_title"],
}


def upgrade() -> None:
    # both are trusted: the owner of a database may create them
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gin")
    create_tasks()
    create_idempotency_keys()


def create_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("completed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("completed_at", TIMESTAMP),
        sa.Column("imported_as", sa.LargeBinary()),
        sa.Column(
            "sort_title", sa.Text(), sa.Computed("lower(title)", persisted=True), nullable=False
        ),
        sa.Column(
            "search_text",
            sa.Text(),
            sa.Computed(
                "lower((title || chr(10)) || COALESCE(description, ''::text))", persisted=True
            ),
            nullable=False,
        ),
        sa.Column("created_at", TIMESTAMP, server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", TIMESTAMP, server_default=sa.func.now(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name="fk_tasks_owner_id_users", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_tasks"),
    )
    for name, columns in LISTS.items():
        op.create_index(name, "tasks", ["owner_id", *columns, "id"])
    op.create_index(
        "ix_tasks_search",
        "tasks",
        ["owner_id", "search_text"],
        postgresql_using="gin",
        postgresql_ops={"search_text": "gin_trgm_ops"},
    )
    op.create_index("uq_tasks_imported_as", "tasks", ["owner_id", "imported_as"], unique=True)


def create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary()),
        sa.Column("created_at", TIMESTAMP, server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["users.id"],
            name="fk_idempotency_keys_owner_id_users",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("owner_id", "key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    op.drop_table("tasks")
