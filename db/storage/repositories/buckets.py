"""The repository of buckets."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Select,
    bindparam,
    func,
    or_,
    select,
)
from sqlalchemy.sql import ClauseElement

from db.kit.audit import AuditKind, record
from db.kit.lists.paging import Page, PageShape, Window
from db.kit.locks import owner_lock
from db.kit.repository import Repository, S, is_any_of
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement
from db.storage import errors, rules
from db.storage.repositories.unscoped import is_public_bucket
from db.storage.rows import NEWEST, BucketRow, Quota
from db.storage.tables import Bucket, File


class Buckets(Repository[BucketRow, S]):
    """The buckets of one owner. Reads by ID also find public buckets."""

    model = Bucket
    row = BucketRow
    noun = "bucket"
    conflicts = {"uq_buckets_owner_id_name": errors.NAME_TAKEN}  # noqa: RUF012 - a Mapping, never written to

    @classmethod
    def readable(cls, *columns: Any) -> Select[Any]:
        """The base of every read by ID: the owner's buckets and public ones."""
        owned_or_public = or_(cls.is_owned(), is_public_bucket())
        return select(*(columns or cls.columns())).where(owned_or_public)

    async def create(self: "Buckets[Session]", name: str, *, private: bool) -> BucketRow:
        return await self.add(name=rules.bucket_name_rule.checked(name), private=private)

    async def change(
        self: "Buckets[Session]",
        bucket_id: UUID,
        /,
        *,
        expected_version: int | None = None,
        **changes: Any,
    ) -> BucketRow:
        """Sets the fields in `changes`: name and private. Others stay. Needs a transaction."""
        checked = rules.checked_bucket_changes(changes)
        bucket = await self.update(bucket_id, expected_version=expected_version, **checked)
        await record(
            self.session,
            AuditKind.BUCKET_UPDATED,
            owner_id=self.owner,
            subject_id=bucket.id,
            subject_name=bucket.name,
            details=checked,
        )
        return bucket

    async def page(self, window: Window) -> Page[BucketRow]:
        return await self.fetch_page(self._page(window.shape), window, NEWEST)

    async def count(self) -> int:
        return int(await self.value(self._count()))

    async def usage(self) -> Quota:
        """The files and bytes of all buckets, and the bytes that pending replacements add.

        Locks them until the transaction ends, so that two files created at once both count.
        """
        await self.run(self._lock_usage())
        return await self.stored()

    async def stored(self) -> Quota:
        """Like `usage`, without the lock."""
        files, size = (await self.run(self._usage()))[0]
        return Quota(bytes=int(size), files=int(files))

    async def lock(self, bucket_id: UUID) -> BucketRow | None:
        """Prevents other transactions from adding or removing files until this one ends."""
        return await self.one(self._lock(), ids=[bucket_id])

    async def lock_all(self, bucket_ids: Iterable[UUID]) -> None:
        """Locks several buckets in the order of their IDs, so that such calls cannot deadlock."""
        await self.run(self._lock(), ids=list(bucket_ids))

    async def add_to_counters(
        self: "Buckets[Session]", bucket_id: UUID, *, files: int, size: int
    ) -> None:
        """Adds to the counters, also negative numbers, and locks the row."""
        if not await self.run(self._add_to_counters(), id=bucket_id, more=files, size=size):
            raise await self.missing_row_error(bucket_id, field="bucketId")

    @statement
    def _page(cls, shape: PageShape) -> ClauseElement:
        return cls.select_page(cls.owned(), NEWEST, shape)

    @statement
    def _count(cls) -> ClauseElement:
        return cls.owned(func.count())

    @statement
    def _lock_usage(cls) -> ClauseElement:
        return select(owner_lock("storage"))

    @statement
    def _usage(cls) -> ClauseElement:
        bucket, file = cls.table().c, File.__table__.c
        growth = func.greatest(file.replacement_size - file.size, 0)
        reserved = select(func.coalesce(func.sum(growth), 0)).where(
            file.owner_id == bindparam("owner_id"), file.replacement_size.is_not(None)
        )
        return cls.owned(
            func.coalesce(func.sum(bucket.file_count), 0),
            func.coalesce(func.sum(bucket.total_size), 0) + reserved.scalar_subquery(),
        )

    @statement
    def _lock(cls) -> ClauseElement:
        bucket_id = cls.table().c.id
        return cls.owned().where(is_any_of(bucket_id)).order_by(bucket_id).with_for_update()

    @change_statement
    def _add_to_counters(cls) -> ClauseElement:
        bucket = cls.table().c
        counters = {
            "file_count": bucket.file_count + bindparam("more", type_=bucket.file_count.type),
            "total_size": bucket.total_size + bindparam("size", type_=bucket.total_size.type),
        }
        change = cls.owned_update().where(bucket.id == bindparam("id"))
        return change.values(counters).returning(bucket.id)
