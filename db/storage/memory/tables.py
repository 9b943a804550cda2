"""The in-memory tables of the storage twin, and the operations on them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from db.errors import Conflict, Forbidden, HowdahError, NotFound
from db.kit.base import OwnerId, TimestampText, to_timestamp_text
from db.storage import errors, rules
from db.storage.rows import (
    NO_REPLACEMENT,
    BspRow,
    BucketRow,
    ChunkRow,
    FileRow,
    FileStatus,
    FolderRow,
    NewFile,
    file_name,
)

Row = TypeVar("Row", bound=NamedTuple)


@dataclass(slots=True)
class Tables:
    """Rows by ID, with the counters that depend on them."""

    bsps: dict[UUID, BspRow] = field(default_factory=dict)
    buckets: dict[UUID, BucketRow] = field(default_factory=dict)
    files: dict[UUID, FileRow] = field(default_factory=dict)
    replicas: dict[UUID, list[UUID]] = field(default_factory=dict)
    chunks: dict[UUID, list[ChunkRow]] = field(default_factory=dict)
    """The chunks of each upload by its ID."""

    def bsp(self, bsp_id: UUID) -> BspRow:
        if bsp_id not in self.bsps:
            raise not_found("provider")
        return self.bsps[bsp_id]

    def owned_bucket(self, owner: OwnerId, bucket_id: UUID, *, field: str = "id") -> BucketRow:
        if bucket_id not in self.buckets:
            raise not_found("bucket", field)
        if self.buckets[bucket_id].owner_id != owner:
            raise forbidden("bucket", field)
        return self.buckets[bucket_id]

    def owned_file(self, owner: OwnerId, file_id: UUID) -> FileRow:
        if file_id not in self.files:
            raise not_found("file")
        if self.files[file_id].owner_id != owner:
            raise forbidden("file")
        return self.files[file_id]

    def owned_buckets(self, owner: OwnerId) -> Sequence[BucketRow]:
        return [bucket for bucket in self.buckets.values() if bucket.owner_id == owner]

    def owned_files(self, owner: OwnerId) -> Sequence[FileRow]:
        owned = (file for file in self.files.values() if file.owner_id == owner)
        return [file for file in owned if file.bucket_id is not None]

    def in_state(self, status: FileStatus) -> Sequence[FileRow]:
        return [file for file in self.files.values() if file.status == status]

    def can_read(self, owner: OwnerId, bucket_id: UUID) -> bool:
        bucket = self.buckets[bucket_id]
        return bucket.owner_id == owner or not bucket.private

    def can_read_file(self, owner: OwnerId, file: FileRow) -> bool:
        in_readable = file.bucket_id is not None and self.can_read(owner, file.bucket_id)
        return file.owner_id == owner or in_readable

    def files_in(
        self, owner: OwnerId, bucket_id: UUID, under: str | None, *, recursive: bool = True
    ) -> Sequence[FileRow]:
        folder = rules.folder_prefix(under)
        files = (file for file in self.files.values() if file.bucket_id == bucket_id)
        return [
            file
            for file in files
            if file.location.startswith(folder) and self.can_read_file(owner, file)
            if recursive or "/" not in file.location[len(folder) :]
        ]

    def folders_in(self, owner: OwnerId, bucket_id: UUID, under: str | None) -> Sequence[FolderRow]:
        folder = rules.folder_prefix(under)
        below = [
            file.location[len(folder) :].partition("/")
            for file in self.files_in(owner, bucket_id, under)
        ]
        paths = {folder + name for name, slash, _ in below if slash}
        return [FolderRow(bucket_id, path) for path in sorted(paths, key=lambda path: path + "/")]

    def files_at(self, owner: OwnerId, bsp_id: UUID) -> Sequence[FileRow]:
        return [file for file in self.owned_files(owner) if bsp_id in self.replicas[file.id]]

    def check_name_free(self, owner: OwnerId, name: str, *, ignore: UUID | None = None) -> None:
        if any(bucket.name == name and bucket.id != ignore for bucket in self.owned_buckets(owner)):
            raise errors.conflict(errors.NAME_TAKEN)

    def is_expected(self, file_id: UUID, upload_id: UUID) -> bool:
        """Whether a file waits for the bytes of an upload."""
        file = self.files.get(file_id)
        if file is None:
            return False
        if file.replacement_size is not None and file.replacement_id == upload_id:
            return True
        return file.status == FileStatus.PENDING and file_id == upload_id

    def check_location_free(self, bucket_id: UUID, location: str) -> None:
        at = (bucket_id, location)
        if any((file.bucket_id, file.location) == at for file in self.files.values()):
            raise errors.conflict(errors.LOCATION_TAKEN)

    def choose_providers(self, new: NewFile) -> Sequence[UUID]:
        suitable = [bsp for bsp in self.bsps.values() if bsp.free_capacity >= new.size]
        suitable.sort(key=lambda bsp: (-bsp.free_capacity, bsp.id))
        chosen = [bsp.id for bsp in suitable[: new.desired_replicas]]
        if len(chosen) < new.desired_replicas:
            raise errors.insufficient_capacity(new.desired_replicas, len(chosen), new.size)
        return chosen

    def providers_for_bytes(self, file: FileRow, size: int) -> Sequence[UUID]:
        """The providers for new bytes of a file, which frees the space of its replicas."""
        freed = dict.fromkeys(self.replicas[file.id], file.size)
        suitable = [
            (bsp.free_capacity + freed.get(bsp.id, 0), bsp.id) for bsp in self.bsps.values()
        ]
        suitable = sorted((-free, bsp_id) for free, bsp_id in suitable if free >= size)
        chosen = [bsp_id for _, bsp_id in suitable[: file.desired_replicas]]
        if len(chosen) < file.desired_replicas:
            raise errors.insufficient_capacity(file.desired_replicas, len(chosen), size)
        return chosen

    def add_file(self, bucket: BucketRow, file: FileRow, providers: Sequence[UUID]) -> FileRow:
        self.replicas[file.id] = list(providers)
        self._add_to_counters(bucket, providers, files=1, size=file.size)
        return store_row(self.files, file)

    def detach(self, file: FileRow) -> None:
        assert file.bucket_id is not None  # noqa: S101 - the caller checked it
        providers = self.replicas.pop(file.id)
        self._add_to_counters(self.buckets[file.bucket_id], providers, files=-1, size=-file.size)
        detached = file._replace(status=FileStatus.DELETING, bucket_id=None, key=None)
        store_row(self.files, with_new_version(detached._replace(**NO_REPLACEMENT)))

    def count_move(self, file: FileRow, bucket_id: UUID) -> None:
        assert file.bucket_id is not None  # noqa: S101 - the caller checked it
        self._add_to_counters(self.buckets[file.bucket_id], (), files=-1, size=-file.size)
        self._add_to_counters(self.buckets[bucket_id], (), files=1, size=file.size)

    def count_replacement(self, file: FileRow, size: int, providers: Sequence[UUID]) -> None:
        """Counts new bytes of a file instead of the present ones."""
        assert file.bucket_id is not None  # noqa: S101 - the caller checked it
        released, self.replicas[file.id] = self.replicas[file.id], list(providers)
        self._add_to_counters(self.buckets[file.bucket_id], released, files=0, size=-file.size)
        self._add_to_counters(self.buckets[file.bucket_id], providers, files=0, size=size)

    def _add_to_counters(
        self, bucket: BucketRow, providers: Iterable[UUID], *, files: int, size: int
    ) -> None:
        counted = bucket._replace(
            file_count=bucket.file_count + files, total_size=bucket.total_size + size
        )
        store_row(self.buckets, counted)
        for bsp_id in providers:
            bsp = self.bsps[bsp_id]
            store_row(
                self.bsps, with_free_capacity(bsp._replace(used_capacity=bsp.used_capacity + size))
            )


def store_row(rows: dict[UUID, Row], row: Row) -> Row:
    rows[row.id] = row  # type: ignore[attr-defined]  # every row has an ID
    return row


def existing(rows: Mapping[UUID, Row], ids: Iterable[UUID]) -> list[Row]:
    return [rows[one] for one in dict.fromkeys(ids) if one in rows]


def ago(age: timedelta = timedelta()) -> TimestampText:
    return to_timestamp_text(datetime.now(UTC) - age)


def now_twice() -> tuple[TimestampText, TimestampText]:
    now = ago()
    return now, now


def with_new_version(row: Row, **values: Any) -> Row:
    return row._replace(**values, version=row.version + 1, updated_at=ago())  # type: ignore[attr-defined]  # every editable row has a version


def with_free_capacity(bsp: BspRow) -> BspRow:
    return bsp._replace(free_capacity=bsp.capacity - bsp.used_capacity)


def pending(owner: OwnerId, new: NewFile, *, file_id: UUID) -> FileRow:
    return FileRow(
        id=file_id,
        owner_id=owner,
        bucket_id=new.bucket_id,
        location=new.location,
        size=new.size,
        content_type=new.content_type or "",
        status=FileStatus.PENDING,
        desired_replicas=new.desired_replicas,
        object_id=None,
        fingerprint=None,
        key=None,
        created_at=(now := ago()),
        updated_at=now,
        name=file_name(new.location),
    )


def check_version(noun: str, version: int, expected: int | None) -> None:
    if expected is not None and version != expected:
        raise Conflict(
            f"This {noun} has changed since it was read.",
            hint="Read it again, then send the change with its current `version`.",
            field="expectedVersion",
        )


def not_found(noun: str, field: str = "id") -> HowdahError:
    return NotFound(
        f"This {noun} does not exist.",
        hint="It may have been deleted; read the list again.",
        field=field,
    )


def forbidden(noun: str, field: str = "id") -> HowdahError:
    return Forbidden(
        f"This {noun} belongs to another user.", hint="Sign in as its owner.", field=field
    )
