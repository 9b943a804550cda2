"""Connections that are open at any replica, and the secrets that were typed to open them."""

import sqlalchemy as sa

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_FORGET = """
CREATE FUNCTION forget_typed_secrets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH closed AS (
        DELETE FROM open_connections WHERE owner_id = NEW.id RETURNING connection_id
    )
    UPDATE database_connections SET secrets_version = secrets_version + 1
    WHERE owner_id = NEW.id AND id IN (SELECT connection_id FROM closed);
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    at = sa.DateTime(timezone=True)
    for name in ("secrets_version", "disconnect_count"):
        counter = sa.Column(name, sa.Integer(), server_default="0", nullable=False)
        op.add_column("database_connections", counter)
    op.create_table(
        "open_connections",
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("opened_at", at, server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", at, nullable=False),
        sa.Column("server_version", sa.Text(), nullable=False),
        sa.Column("tls", sa.Text()),
        sa.Column("sealed_password", sa.LargeBinary()),
        sa.Column("sealed_ssh_password", sa.LargeBinary()),
        sa.ForeignKeyConstraint(
            ["connection_id", "owner_id"],
            ["database_connections.id", "database_connections.owner_id"],
            name="fk_open_connections_connection_id_owner_id_database_connections",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("connection_id", name="pk_open_connections"),
    )
    op.create_index("ix_open_connections_opened", "open_connections", ["owner_id", "opened_at"])
    op.create_index("ix_open_connections_expires_at", "open_connections", ["expires_at"])
    op.execute(_FORGET)
    op.execute(
        "CREATE TRIGGER users_suspension AFTER UPDATE OF suspended_at ON users FOR EACH ROW"
        " WHEN (OLD.suspended_at IS NULL AND NEW.suspended_at IS NOT NULL)"
        " EXECUTE FUNCTION forget_typed_secrets()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER users_suspension ON users")
    op.execute("DROP FUNCTION forget_typed_secrets()")
    op.drop_table("open_connections")
    for name in ("disconnect_count", "secrets_version"):
        op.drop_column("database_connections", name)
