"""Files of all owners, for signed links and sweeps; and what is in public buckets."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Generic
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Interval,
    and_,
    bindparam,
    delete,
    exists,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.sql import ClauseElement

from db.kit.lists.paging import Page, PageShape, Window
from db.kit.repository import Repository, S, is_any_of
from db.postgres.ownership import PublicRows
from db.postgres.sessions import ReadSession, Session
from db.postgres.statements import Statement, compile_statement, unscoped_change, unscoped_statement
from db.storage.rows import (
    CANCELLED_REPLACEMENT,
    NEWEST,
    BucketRow,
    FileRow,
    FileStatus,
)
from db.storage.tables import Bucket, File, FileChunk

_BUCKET, _CHUNK, _FILE = Bucket.__table__.c, FileChunk.__table__.c, File.__table__.c
_COLUMNS = [_FILE[name] for name in FileRow._fields]


def is_public_bucket() -> PublicRows:
    return PublicRows(not_(_BUCKET.private))


def is_in_public_bucket() -> PublicRows:
    return PublicRows(exists().where(_BUCKET.id == _FILE.bucket_id, not_(_BUCKET.private)))


_KEPT_BYTES = compile_statement(
    select(func.coalesce(func.sum(_BUCKET.total_size), 0)), unscoped=True
)


async def kept_file_bytes(session: ReadSession) -> int:
    """The size of the files of all owners, from the counters of their buckets."""
    return int(await session.value(_KEPT_BYTES))


def is_expected_upload(upload_id: Any) -> ColumnElement[bool]:
    """Whether a file waits for the bytes of an upload: its first one, or a replacement."""
    first = and_(_FILE.status == FileStatus.PENDING, _FILE.id == upload_id)
    return or_(first, and_(_FILE.replacement_size.is_not(None), _FILE.replacement_id == upload_id))


class PublicBuckets(Repository[BucketRow, S]):
    """The public buckets of all owners, which every signed-in user may read."""

    model = Bucket
    row = BucketRow
    noun = "bucket"

    async def page(self, window: Window) -> Page[BucketRow]:
        return await self.fetch_page(self._page(window.shape), window, NEWEST)

    async def count(self) -> int:
        return int(await self.value(self._count()))

    @unscoped_statement
    def _page(cls, shape: PageShape) -> ClauseElement:
        return cls.select_page(select(*cls.columns()).where(not_(_BUCKET.private)), NEWEST, shape)

    @unscoped_statement
    def _count(cls) -> ClauseElement:
        return select(func.count()).select_from(Bucket).where(not_(_BUCKET.private))


class UnscopedChunks(Generic[S]):
    """Finds and removes chunks by their objects, for sweeps, which have no viewer."""

    def __init__(self, session: S) -> None:
        self._session = session

    async def known(self, object_ids: Sequence[UUID]) -> set[UUID]:
        """The IDs of `object_ids` that a chunk refers to."""
        return {found[0] for found in await self._session.rows(self._known(), ids=list(object_ids))}

    async def remove_stale(self: "UnscopedChunks[Session]") -> int:
        """Removes the chunks of uploads that no file waits for, and returns their number."""
        return len(await self._session.rows(self._remove_stale()))

    @unscoped_statement
    def _known(cls) -> ClauseElement:
        return select(_CHUNK.object_id).where(is_any_of(_CHUNK.object_id))

    @unscoped_change
    def _remove_stale(cls) -> ClauseElement:
        of_file = (_FILE.id == _CHUNK.file_id, is_expected_upload(_CHUNK.upload_id))
        return delete(FileChunk).where(~exists().where(*of_file)).returning(_CHUNK.object_id)


class UnscopedFiles(Generic[S]):
    """Finds files by ID or state. A signed link authorizes the request; sweeps have no viewer."""

    def __init__(self, session: S) -> None:
        self._session = session

    async def by_id(self, ids: Sequence[UUID]) -> Sequence[FileRow]:
        return await self._files(self._by_ids(), ids=list(ids))

    async def stale(self, *, older_than: timedelta, limit: int) -> Sequence[FileRow]:
        return await self._files(self._stale(), age=older_than, limit=limit)

    async def cancel_stale_replacements(
        self: "UnscopedFiles[Session]", *, older_than: timedelta
    ) -> int:
        """Cancels the pending replacements of that age and returns their number."""
        return len(await self._session.rows(self._cancel_stale_replacements(), age=older_than))

    async def deleting(self, *, limit: int) -> Sequence[UUID]:
        return [found[0] for found in await self._session.rows(self._deleting(), limit=limit)]

    async def remove(self: "UnscopedFiles[Session]", ids: Sequence[UUID]) -> None:
        await self._session.rows(self._remove(), ids=list(ids))

    async def _files(self, query: Statement[S], **values: Any) -> Sequence[FileRow]:
        return [FileRow._make(found) for found in await self._session.rows(query, **values)]

    @unscoped_statement
    def _by_ids(cls) -> ClauseElement:
        return select(*_COLUMNS).where(is_any_of(_FILE.id))

    @unscoped_statement
    def _stale(cls) -> ClauseElement:
        is_stale = _FILE.created_at <= func.now() - bindparam("age", type_=Interval())
        stale = select(*_COLUMNS).where(_FILE.status == FileStatus.PENDING, is_stale)
        return stale.order_by(_FILE.created_at).limit(bindparam("limit"))

    @unscoped_statement
    def _deleting(cls) -> ClauseElement:
        deleting = select(_FILE.id).where(_FILE.status == FileStatus.DELETING)
        oldest = deleting.order_by(_FILE.created_at).limit(10_000).subquery()
        return select(oldest.c.id).order_by(func.random()).limit(bindparam("limit"))

    @unscoped_change
    def _cancel_stale_replacements(cls) -> ClauseElement:
        too_old = func.now() - bindparam("age", type_=Interval())
        stale = update(File).where(
            _FILE.replacement_size.is_not(None), _FILE.replacement_created_at <= too_old
        )
        return stale.values(CANCELLED_REPLACEMENT).returning(_FILE.id)

    @unscoped_change
    def _remove(cls) -> ClauseElement:
        return delete(File).where(is_any_of(_FILE.id), _FILE.status == FileStatus.DELETING)
