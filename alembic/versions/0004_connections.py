"""Saved connections and preferences of users."""

from typing import Any

import sqlalchemy as sa

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


_MOMENT = sa.DateTime(timezone=True)
_SECRETS = ("password", "ssh_password", "ssh_private_key", "ssh_passphrase")


def upgrade() -> None:
    _make_connections()
    _make_preferences()


def downgrade() -> None:
    op.drop_table("preferences")
    op.drop_table("database_connections")


def _tunnel() -> list[sa.Column[Any]]:
    return [
        sa.Column("ssh_host", sa.Text()),
        sa.Column("ssh_port", sa.Integer()),
        sa.Column("ssh_username", sa.Text()),
        sa.Column("ssh_auth_method", sa.Text()),
        sa.Column("ssh_host_key_fingerprint", sa.Text()),
    ]


def _times() -> list[sa.Column[Any]]:
    return [
        sa.Column("created_at", _MOMENT, server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", _MOMENT, server_default=sa.func.now(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
    ]


def _make_connections() -> None:
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
        *_tunnel(),
        sa.Column("read_only", sa.Boolean(), nullable=False),
        sa.Column("statement_timeout_ms", sa.Integer()),
        *(sa.Column(f"sealed_{name}", sa.LargeBinary()) for name in _SECRETS),
        sa.Column("last_connected_at", _MOMENT),
        sa.Column(
            "sort_name", sa.Text(), sa.Computed("lower(name)", persisted=True), nullable=False
        ),
        *_times(),
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


def _make_preferences() -> None:
    op.create_table(
        "preferences",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        *_times(),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name="fk_preferences_owner_id_users", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("owner_id", "key", name="pk_preferences"),
    )
