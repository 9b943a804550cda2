"""Files of all owners, for signed links and sweeps."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Interval, bindparam, delete, func, select
from sqlalchemy.sql import ClauseElement

from db.postgres.engine import Session
from db.postgres.statements import Statement, statement
from db.storage.buckets import is_any_of
from db.storage.files import Files
from db.storage.rows import FileRow, FileStatus
from db.storage.tables import File

_FILE = File.__table__.c


class UnscopedFiles:
    """Finds files by ID or state. A signed link authorizes the request; sweeps have no viewer."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def by_id(self, ids: Sequence[UUID]) -> Sequence[FileRow]:
        return await self._files(self._by_ids(), ids=list(ids))

    async def stale(self, *, older_than: timedelta, limit: int) -> Sequence[FileRow]:
        return await self._files(self._stale(), age=older_than, limit=limit)

    async def deleting(self, *, limit: int) -> Sequence[UUID]:
        return [found[0] for found in await self._session.rows(self._deleting(), limit=limit)]

    async def remove(self, ids: Sequence[UUID]) -> None:
        await self._session.rows(self._remove(), ids=list(ids))

    async def _files(self, query: Statement, **values: Any) -> Sequence[FileRow]:
        return [FileRow._make(found) for found in await self._session.rows(query, **values)]

    @statement
    def _by_ids(cls) -> ClauseElement:
        return select(*Files.columns()).where(is_any_of(_FILE.id))

    @statement
    def _stale(cls) -> ClauseElement:
        is_stale = _FILE.created_at <= func.now() - bindparam("age", type_=Interval())
        stale = select(*Files.columns()).where(_FILE.status == FileStatus.PENDING, is_stale)
        return stale.order_by(_FILE.created_at).limit(bindparam("limit"))

    @statement
    def _deleting(cls) -> ClauseElement:
        deleting = select(_FILE.id).where(_FILE.status == FileStatus.DELETING)
        return deleting.order_by(_FILE.created_at).limit(bindparam("limit"))

    @statement
    def _remove(cls) -> ClauseElement:
        return delete(File).where(is_any_of(_FILE.id), _FILE.status == FileStatus.DELETING)
