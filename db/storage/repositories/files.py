"""The repository of files."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Update,
    bindparam,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.sql import ClauseElement

from db.kit.lists.paging import Page, PageShape, Window
from db.kit.parent_pages import PARENTS, PagesOfParents
from db.kit.repository import S, is_any_of
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement
from db.storage import errors, rules
from db.storage.repositories.unscoped import is_in_public_bucket
from db.storage.rows import (
    BY_LOCATION,
    BY_NAME,
    NEWEST,
    NO_REPLACEMENT,
    FileRow,
    FileStatus,
    NewFile,
)
from db.storage.tables import File, Replica

_REPLICA = Replica.__table__.c


class Files(PagesOfParents[FileRow, S]):
    """The files of one owner. Reads by ID, key or bucket also find files in public buckets.

    A file in state DELETING is in no bucket: only reads by ID find it.
    """

    model = File
    row = FileRow
    noun = "file"
    conflicts = {"uq_files_bucket_id_location": errors.LOCATION_TAKEN}  # noqa: RUF012 - a Mapping, never written to

    @classmethod
    def readable(cls, *columns: Any) -> Select[Any]:
        """The base of reads by ID, key or bucket: the owner's files and those in public buckets."""
        return select(*(columns or cls.columns())).where(or_(cls.is_owned(), is_in_public_bucket()))

    async def create(self: "Files[Session]", new: NewFile, *, file_id: UUID) -> FileRow:
        return await self.add(id=file_id, **new._asdict())

    async def is_taken(self, bucket_id: UUID, location: str) -> bool:
        at = {"bucket_id": bucket_id, "location": location}
        return await self.value(self._at(), **at) is not None

    async def by_key(self, key: bytes) -> FileRow | None:
        return await self.one(self._by_key(), key=key)

    async def page(self, window: Window) -> Page[FileRow]:
        return await self.fetch_page(self._page(window.shape), window, NEWEST)

    async def count(self) -> int:
        return int(await self.value(self._count()))

    async def of_buckets(
        self,
        bucket_ids: Sequence[UUID],
        window: Window,
        *,
        under: str | None,
        recursive: bool = True,
    ) -> Mapping[UUID, Page[FileRow]]:
        if not recursive:
            query, folder = self._of_folders(window.shape), rules.folder_prefix(under)
            return await self.fetch_pages(query, bucket_ids, window, BY_NAME, folder=folder)
        query = self._of_buckets(under is not None, window.shape)
        return await self.fetch_pages(
            query, bucket_ids, window, BY_LOCATION, **_location_bounds(under)
        )

    async def count_of_buckets(
        self, bucket_ids: Sequence[UUID], *, under: str | None, recursive: bool = True
    ) -> Mapping[UUID, int]:
        values: dict[str, Any] = _location_bounds(under)
        if not recursive:
            values = {"folder": rules.folder_prefix(under)}
        query = self._count_of_buckets(recursive and under is not None, recursive)
        return dict(await self.run(query, ids=list(bucket_ids), **values))

    async def of_bsps(
        self, bsp_ids: Sequence[UUID], window: Window
    ) -> Mapping[UUID, Page[FileRow]]:
        return await self.fetch_pages(self._of_bsps(window.shape), bsp_ids, window, NEWEST)

    async def count_of_bsps(self, bsp_ids: Sequence[UUID]) -> Mapping[UUID, int]:
        return dict(await self.run(self._count_of_bsps(), ids=list(bsp_ids)))

    async def detach(self: "Files[Session]", bucket_id: UUID, file_id: UUID) -> FileRow:
        """Puts a file of the bucket into state DELETING."""
        which: dict[str, Any] = {"of_bucket": bucket_id, "id": file_id}
        return await self.one_or_raise(file_id, self._detach(), **which)

    async def detach_all(self: "Files[Session]", bucket_id: UUID, *, limit: int) -> Sequence[UUID]:
        """Puts all files of the bucket into state DELETING; returns the IDs of up to `limit`."""
        found = await self.run(self._detach_all(), of_bucket=bucket_id, limit=limit)
        return [row[0] for row in found]

    @statement
    def _by_key(cls) -> ClauseElement:
        return cls.readable().where(cls.table().c.key == bindparam("key"))

    @statement
    def _at(cls) -> ClauseElement:
        file = cls.table().c
        at = (file.bucket_id == bindparam("bucket_id"), file.location == bindparam("location"))
        return cls.owned(file.id).where(*at)

    @statement
    def _page(cls, shape: PageShape) -> ClauseElement:
        return cls.select_page(cls._in_a_bucket(cls.owned()), NEWEST, shape)

    @statement
    def _count(cls) -> ClauseElement:
        return cls._in_a_bucket(cls.owned(func.count()))

    @statement
    def _of_buckets(cls, under: bool, shape: PageShape) -> ClauseElement:  # noqa: FBT001 - a shape, passed by position
        files = cls.readable().where(cls.table().c.bucket_id == PARENTS.c.id)
        if under:
            files = files.where(cls._is_within())
        return cls.page_per_parent(files, BY_LOCATION, shape)

    @statement
    def _of_folders(cls, shape: PageShape) -> ClauseElement:
        file = cls.table().c
        in_folder = (file.bucket_id == PARENTS.c.id, file.folder == bindparam("folder"))
        return cls.page_per_parent(cls.readable().where(*in_folder), BY_NAME, shape)

    @statement
    def _count_of_buckets(cls, under: bool, recursive: bool) -> ClauseElement:  # noqa: FBT001 - as above
        file = cls.table().c
        counted = cls.readable(file.bucket_id, func.count()).where(is_any_of(file.bucket_id))
        if not recursive:
            counted = counted.where(file.folder == bindparam("folder"))
        elif under:
            counted = counted.where(cls._is_within())
        return counted.group_by(file.bucket_id)

    @statement
    def _of_bsps(cls, shape: PageShape) -> ClauseElement:
        has_replica = exists().where(
            _REPLICA.bsp_id == PARENTS.c.id,
            _REPLICA.file_id == cls.table().c.id,
            _REPLICA.owner_id == cls.table().c.owner_id,
        )
        return cls.page_per_parent(cls.owned().where(has_replica), NEWEST, shape)

    @statement
    def _count_of_bsps(cls) -> ClauseElement:
        owned = _REPLICA.owner_id == bindparam("owner_id")
        counted = select(_REPLICA.bsp_id, func.count()).where(owned, is_any_of(_REPLICA.bsp_id))
        return counted.group_by(_REPLICA.bsp_id)

    @change_statement
    def _detach(cls) -> ClauseElement:
        change = cls._detachment().where(cls.table().c.id == bindparam("id"))
        return change.returning(*cls.columns())

    @change_statement
    def _detach_all(cls) -> ClauseElement:
        """PostgreSQL executes the change to its end, however few of its rows are selected."""
        detached = cls._detachment().returning(cls.table().c.id).cte("detached")
        return select(detached.c.id).limit(bindparam("limit"))

    @classmethod
    def _detachment(cls) -> Update:
        values = {"status": FileStatus.DELETING, "bucket_id": None, "key": None} | NO_REPLACEMENT
        of_bucket = cls.table().c.bucket_id == bindparam("of_bucket")
        return cls.owned_update().where(of_bucket).values(values | cls.audit_columns())

    @classmethod
    def _in_a_bucket(cls, query: Select[Any]) -> Select[Any]:
        return query.where(cls.table().c.bucket_id.is_not(None))

    @classmethod
    def _is_within(cls) -> ColumnElement[bool]:
        location = cls.table().c.location
        return (location >= bindparam("from_location")) & (location < bindparam("to_location"))


def _location_bounds(under: str | None) -> dict[str, str]:
    """The range of locations in a folder: in the collation "C", `0` directly follows `/`."""
    if under is None:
        return {}
    folder = rules.folder_prefix(under)
    return {"from_location": folder, "to_location": f"{folder[:-1]}0"}
