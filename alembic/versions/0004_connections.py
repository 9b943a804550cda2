"""Saved connections and preferences."""

import sqlalchemy as sa

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "database_connections",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("database", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("ssl_mode", sa.Text(), nullable=False),
        sa.Column("ssl_root_certificate", sa.Text()),
        sa.Column("ssh_host", sa.Text()),
        sa.Column("ssh_port", sa.Integer()),
        sa.Column("ssh_username", sa.Text()),
        sa.Column("ssh_auth_method", sa.Text()),
        sa.Column("ssh_host_key_fingerprint", sa.Text()),
        sa.Column("read_only", sa.Boolean(), nullable=False),
        sa.Column("statement_timeout_ms", sa.Integer()),
        sa.Column("sealed_password", sa.LargeBinary()),
        sa.Column("sealed_ssh_password", sa.LargeBinary()),
        sa.Column("sealed_ssh_private_key", sa.LargeBinary()),
        sa.Column("sealed_ssh_passphrase", sa.LargeBinary()),
        sa.Column("last_connected_at", moment),
        sa.Column(
            "sort_name", sa.Text(), sa.Computed("lower(name)", persisted=True), nullable=False
        ),
        sa.Column("created_at", moment, server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", moment, server_default=sa.func.now(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint("(ssh_host IS NULL) = (ssh_auth_method IS NULL)", name="tunnel"),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["users.id"],
            name="fk_database_connections_owner_id_users",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_database_connections"),
        sa.UniqueConstraint("id", "owner_id", name="uq_database_connections_id_owner_id"),
    )
    op.create_index(
        "ix_database_connections_name", "database_connections", ["owner_id", "sort_name", "id"]
    )
    op.create_table(
        "preferences",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("created_at", moment, server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", moment, server_default=sa.func.now(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name="fk_preferences_owner_id_users", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("owner_id", "key", name="pk_preferences"),
    )


def downgrade() -> None:
    op.drop_table("preferences")
    op.drop_table("database_connections")
