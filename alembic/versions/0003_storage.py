"""Providers, buckets, files and replicas, and the trigger that counts used capacity."""

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)

# Locks in the order of IDs, so that concurrent transactions do not deadlock.
_COUNT_REPLICAS = """
CREATE FUNCTION count_replicas() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM bsps WHERE id IN (SELECT bsp_id FROM changed) ORDER BY id FOR NO KEY UPDATE;
    UPDATE bsps SET used_capacity = used_capacity + sums.size
    FROM (
        SELECT bsp_id, sum(CASE TG_OP WHEN 'INSERT' THEN size ELSE -size END)::bigint AS size
        FROM changed GROUP BY bsp_id
    ) AS sums
    WHERE bsps.id = sums.bsp_id;
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    _bsps()
    _buckets()
    _files()
    _replicas()


def downgrade() -> None:
    for table in ("replicas", "files", "buckets", "bsps"):
        op.drop_table(table)
    op.execute("DROP FUNCTION count_replicas()")


def _bsps() -> None:
    op.create_table(
        "bsps",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("capacity", sa.BigInteger(), nullable=False),
        sa.Column("used_capacity", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column(
            "free_capacity",
            sa.BigInteger(),
            sa.Computed("capacity - used_capacity", persisted=True),
            nullable=False,
        ),
        sa.Column("multiaddresses", sa.ARRAY(sa.Text()), nullable=False),
        *_times(),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint("used_capacity BETWEEN 0 AND capacity", name="used_fits"),
        sa.PrimaryKeyConstraint("id", name="pk_bsps"),
        sa.UniqueConstraint("account", name="uq_bsps_account"),
    )
    op.create_index("ix_bsps_created_at_id", "bsps", ["created_at", "id"])
    op.create_index("ix_bsps_free_capacity_id", "bsps", ["free_capacity", "id"])


def _buckets() -> None:
    op.create_table(
        "buckets",
        sa.Column("id", sa.Uuid(), nullable=False),
        _owner("buckets"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("private", sa.Boolean(), nullable=False),
        sa.Column("file_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("total_size", sa.BigInteger(), server_default="0", nullable=False),
        *_times(),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint("file_count >= 0 AND total_size >= 0", name="counts"),
        sa.PrimaryKeyConstraint("id", name="pk_buckets"),
        sa.UniqueConstraint("owner_id", "name", name="uq_buckets_owner_id_name"),
        sa.UniqueConstraint("id", "owner_id", name="uq_buckets_id_owner_id"),
    )
    op.create_index(
        "ix_buckets_owner_id_created_at_id", "buckets", ["owner_id", "created_at", "id"]
    )


def _files() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.Uuid(), nullable=False),
        _owner("files"),
        sa.Column("bucket_id", sa.Uuid()),
        sa.Column("location", sa.Text(collation="C"), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="PENDING", nullable=False),
        sa.Column("desired_replicas", sa.Integer(), nullable=False),
        sa.Column("object_id", sa.Uuid()),
        sa.Column("fingerprint", sa.LargeBinary()),
        sa.Column("key", sa.LargeBinary()),
        *_times(),
        # no cascade: a bucket with files is deleted only together with its owner
        sa.ForeignKeyConstraint(
            ["bucket_id", "owner_id"],
            ["buckets.id", "buckets.owner_id"],
            name="fk_files_bucket_id_owner_id_buckets",
        ),
        sa.CheckConstraint("status IN ('PENDING', 'STORED', 'DELETING')", name="status"),
        sa.CheckConstraint("size >= 0", name="size"),
        sa.CheckConstraint("(status = 'DELETING') = (bucket_id IS NULL)", name="in_a_bucket"),
        sa.CheckConstraint("(status = 'STORED') = (key IS NOT NULL)", name="keyed"),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
        sa.UniqueConstraint("bucket_id", "location", name="uq_files_bucket_id_location"),
        sa.UniqueConstraint("id", "owner_id", name="uq_files_id_owner_id"),
        sa.UniqueConstraint("key", name="uq_files_key"),
    )
    op.create_index("ix_files_owner_id_created_at_id", "files", ["owner_id", "created_at", "id"])
    op.create_index(
        "ix_files_unfinished",
        "files",
        ["status", "created_at"],
        postgresql_where=sa.text("status <> 'STORED'"),
    )


def _replicas() -> None:
    op.create_table(
        "replicas",
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("bsp_id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["bsp_id"], ["bsps.id"], name="fk_replicas_bsp_id_bsps"),
        sa.ForeignKeyConstraint(
            ["file_id", "owner_id"],
            ["files.id", "files.owner_id"],
            name="fk_replicas_file_id_owner_id_files",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("file_id", "bsp_id", name="pk_replicas"),
    )
    op.create_index("ix_replicas_bsp_id_owner_id", "replicas", ["bsp_id", "owner_id"])
    op.execute(_COUNT_REPLICAS)
    for event, rows in (("INSERT", "NEW"), ("DELETE", "OLD")):
        op.execute(
            f"CREATE TRIGGER count_{event.lower()} AFTER {event} ON replicas"
            f" REFERENCING {rows} TABLE AS changed"
            " FOR EACH STATEMENT EXECUTE FUNCTION count_replicas()"
        )


def _owner(table: str) -> sa.Column[object]:
    name = f"fk_{table}_owner_id_users"
    owner = sa.ForeignKey("users.id", name=name, ondelete="CASCADE")
    return sa.Column("owner_id", sa.Uuid(), owner, nullable=False)


def _times() -> tuple[sa.Column[object], ...]:
    return tuple(
        sa.Column(name, _MOMENT, server_default=sa.func.now(), nullable=False)
        for name in ("created_at", "updated_at")
    )
