"""The tables of storage."""

from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)

from db.kit.base import (
    Base,
    HasId,
    HasOwner,
    HasTimes,
    HasVersion,
    Mapped,
    TimestampText,
    mapped_column,
)
from db.storage.rows import FileStatus


class Bsp(HasId, HasTimes, HasVersion, Base):
    """A backup storage provider. It has no owner.

    A trigger on `replicas` keeps `used_capacity`, because replicas are also removed by cascades,
    such as the removal of a user.
    """

    __tablename__ = "bsps"

    account: Mapped[str] = mapped_column(Text, unique=True)
    capacity: Mapped[int] = mapped_column(BigInteger)
    used_capacity: Mapped[int] = mapped_column(BigInteger, server_default="0")
    free_capacity: Mapped[int] = mapped_column(
        BigInteger, Computed("capacity - used_capacity", persisted=True)
    )
    multiaddresses: Mapped[list[str]] = mapped_column(ARRAY(Text))

    __table_args__ = (
        CheckConstraint("used_capacity BETWEEN 0 AND capacity", name="used_fits"),
        Index(None, "created_at", "id"),
        Index(None, "free_capacity", "id"),
    )


class Bucket(HasId, HasOwner, HasTimes, HasVersion, Base):
    """A named set of files. Its counters change in the same transaction as its files."""

    __tablename__ = "buckets"

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Text)
    private: Mapped[bool]
    file_count: Mapped[int] = mapped_column(BigInteger, server_default="0")
    total_size: Mapped[int] = mapped_column(BigInteger, server_default="0")

    __table_args__ = (
        UniqueConstraint("owner_id", "name"),
        UniqueConstraint("id", "owner_id"),
        CheckConstraint("file_count >= 0 AND total_size >= 0", name="counts"),
        Index(None, "owner_id", "created_at", "id"),
        Index("ix_buckets_public", "created_at", "id", postgresql_where=text("NOT private")),
    )


class File(HasId, HasOwner, HasTimes, HasVersion, Base):
    """A file. In state DELETING it is in no bucket, so that its location can be used again.

    The columns of a replacement describe the bytes to come, while the others describe those that
    are served. Only a pending one has a size.
    """

    __tablename__ = "files"

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    bucket_id: Mapped[UUID | None]
    location: Mapped[str] = mapped_column(Text(collation="C"))
    folder: Mapped[str] = mapped_column(
        Text(collation="C"), Computed("regexp_replace(location, '[^/]*$', '')", persisted=True)
    )
    """Ends with a slash, so that all folders within it follow it in the index without a gap."""
    name: Mapped[str] = mapped_column(
        Text(collation="C"), Computed("regexp_replace(location, '^.*/', '')", persisted=True)
    )
    size: Mapped[int] = mapped_column(BigInteger)
    content_type: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text, server_default=FileStatus.PENDING.value)
    desired_replicas: Mapped[int]
    object_id: Mapped[UUID | None]
    fingerprint: Mapped[bytes | None] = mapped_column(LargeBinary)
    key: Mapped[bytes | None] = mapped_column(LargeBinary, unique=True)
    object_location: Mapped[str | None] = mapped_column(Text)
    previous_object_id: Mapped[UUID | None]
    replaced_at: Mapped[TimestampText | None]
    replacement_id: Mapped[UUID | None]
    replacement_size: Mapped[int | None] = mapped_column(BigInteger)
    replacement_content_type: Mapped[str | None] = mapped_column(Text)
    replacement_created_at: Mapped[TimestampText | None]

    __table_args__ = (
        ForeignKeyConstraint(["bucket_id", "owner_id"], ["buckets.id", "buckets.owner_id"]),
        UniqueConstraint("bucket_id", "location"),
        UniqueConstraint("id", "owner_id"),
        CheckConstraint(f"status IN {tuple(map(str, FileStatus))}", name="status"),
        CheckConstraint("size >= 0", name="size"),
        CheckConstraint("(status = 'DELETING') = (bucket_id IS NULL)", name="in_a_bucket"),
        CheckConstraint("(status = 'STORED') = (key IS NOT NULL)", name="keyed"),
        Index(None, "owner_id", "created_at", "id"),
        Index(
            "ix_files_unfinished",
            "status",
            "created_at",
            postgresql_where="status <> 'STORED'",
        ),
        CheckConstraint("replacement_size >= 0", name="replacement_size"),
        # Folder and name together are a location, so an entry stays within the limit of an index.
        Index(None, "bucket_id", "folder", "name", "id", postgresql_include=["owner_id"]),
        Index(
            "ix_files_replacing",
            "owner_id",
            postgresql_where="replacement_size IS NOT NULL",
        ),
    )


class FileChunk(HasOwner, Base):
    """Received bytes of an upload that is not complete, in an object of their own.

    The first chunk that is inserted at a position counts, whichever replica received it.
    """

    __tablename__ = "file_chunks"

    file_id: Mapped[UUID] = mapped_column(primary_key=True)
    upload_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    object_id: Mapped[UUID]

    __table_args__ = (
        ForeignKeyConstraint(
            ["file_id", "owner_id"], ["files.id", "files.owner_id"], ondelete="CASCADE"
        ),
        CheckConstraint("position >= 0 AND size > 0", name="bytes"),
        Index(None, "object_id"),
    )


class Replica(HasOwner, Base):
    """A copy of a file at a provider. The trigger adds `size` to the provider's counter."""

    __tablename__ = "replicas"

    file_id: Mapped[UUID] = mapped_column(primary_key=True)
    bsp_id: Mapped[UUID] = mapped_column(ForeignKey("bsps.id"), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        ForeignKeyConstraint(
            ["file_id", "owner_id"], ["files.id", "files.owner_id"], ondelete="CASCADE"
        ),
        Index(None, "bsp_id", "owner_id"),
    )
