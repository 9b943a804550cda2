"""Files whoever owns them: for those who hold a signed link, and for sweeps."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Generic
from uuid import UUID

from sqlalchemy import Interval, bindparam, delete, func, select
from sqlalchemy.sql import ClauseElement

from db.kit.repository import S
from db.postgres.engine import Session
from db.postgres.statements import Statement, change_statement, statement
from db.storage.buckets import is_any_of
from db.storage.files import Files
from db.storage.rows import DELETING, PENDING, FileRow
from db.storage.tables import File

_FILE = File.__table__.c


class UnscopedFiles(Generic[S]):
    """The one way to files that asks for no owner."""

    def __init__(self, session: S) -> None:
        self._session = session

    async def by_id(self, ids: Sequence[UUID]) -> Sequence[FileRow]:
        return await self._files(self._by_ids(), ids=list(ids))

    async def stale(self, *, older_than: timedelta, limit: int) -> Sequence[FileRow]:
        return await self._files(self._stale(), age=older_than, limit=limit)

    async def deleting(self, *, limit: int) -> Sequence[UUID]:
        return [found[0] for found in await self._session.rows(self._deleting(), limit=limit)]

    async def forget(self: "UnscopedFiles[Session]", ids: Sequence[UUID]) -> None:
        await self._session.rows(self._forget(), ids=list(ids))

    async def _files(self, query: Statement[S], **values: Any) -> Sequence[FileRow]:
        return [FileRow._make(found) for found in await self._session.rows(query, **values)]

    @statement
    def _by_ids(cls) -> ClauseElement:
        return select(*Files.columns()).where(is_any_of(_FILE.id))

    @statement
    def _stale(cls) -> ClauseElement:
        late = _FILE.created_at <= func.now() - bindparam("age", type_=Interval())
        waiting = select(*Files.columns()).where(_FILE.status == PENDING, late)
        return waiting.order_by(_FILE.created_at).limit(bindparam("limit"))

    @statement
    def _deleting(cls) -> ClauseElement:
        going = select(_FILE.id).where(_FILE.status == DELETING)
        return going.order_by(_FILE.created_at).limit(bindparam("limit"))

    @change_statement
    def _forget(cls) -> ClauseElement:
        return delete(File).where(is_any_of(_FILE.id), _FILE.status == DELETING)
