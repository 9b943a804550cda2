"""No SSH passphrases: a private key is decrypted before it is stored."""

import sqlalchemy as sa

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("database_connections", "sealed_ssh_passphrase")


def downgrade() -> None:
    op.add_column("database_connections", sa.Column("sealed_ssh_passphrase", sa.LargeBinary()))
