"""Repository of database sessions. Each transition is one UPDATE conditional on the state before.

The UPDATE of the row is the fence between processes: whoever changes a session locks its row first,
and a process that no longer holds the session matches no row.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    Integer,
    Interval,
    Select,
    Text,
    Update,
    bindparam,
    case,
    func,
    insert,
    null,
    select,
)
from sqlalchemy.sql import ClauseElement

from db.database_sessions.rows import (
    CloseReason,
    DatabaseSessionRow,
    NewSession,
    SessionState,
    SessionStatus,
)
from db.database_sessions.tables import DatabaseSession
from db.errors import Conflict, RateLimited
from db.kit.lists.paging import Page, PageShape, SortOrder, Window
from db.kit.live_processes import fenced_error, is_fenced
from db.kit.locks import owner_lock
from db.kit.repository import Repository, S
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement

NEWEST = SortOrder("opened_at", descending=True)


class DatabaseSessions(Repository[DatabaseSessionRow, S]):
    model = DatabaseSession
    row = DatabaseSessionRow
    noun = "session"

    async def lock_open(
        self: "DatabaseSessions[Session]", session_id: UUID, *, field: str
    ) -> DatabaseSessionRow:
        """Returns a session that takes statements, and keeps it open until the transaction ends.

        Raises:
            Conflict: It is closed, is being closed, or is not open yet.
        """
        found = await self.one_or_raise(session_id, self._lock_row(), field=field, id=session_id)
        if found.is_closed or found.close_requested_at is not None:
            raise closed_error(found, field=field)
        if found.state == SessionState.OPENING:
            raise Conflict(
                "This session is not open yet.",
                hint="Wait until `openSession` has responded.",
                field=field,
            )
        return found

    async def page(self, window: Window, *, is_open: bool | None) -> Page[DatabaseSessionRow]:
        """Without the sessions that scripts open for themselves."""
        return await self.fetch_page(self._page(is_open, window.shape), window, NEWEST)

    async def count(self, *, is_open: bool | None) -> int:
        return int(await self.value(self._count(is_open)))

    async def count_open(self) -> int:
        """Counts all open sessions, also those of scripts."""
        return int(await self.value(self._count_open()))

    async def add_new(
        self: "DatabaseSessions[Session]",
        session_id: UUID,
        new: NewSession,
        *,
        process: int,
        max_open: int,
    ) -> DatabaseSessionRow:
        """Inserts a session that `process` is about to open.

        Raises:
            RateLimited: The owner has `max_open` open sessions.
            Unavailable: The process was found dead.
        """
        await self.run(self._lock())  # in a statement of its own: the next one has to see more
        added = await self.one(
            self._add(), id=session_id, **new._asdict(), process=process, max_open=max_open
        )
        if added is None:
            if await self.value(self._is_fenced(), process=process):
                raise fenced_error()
            raise RateLimited(
                f"You already have {max_open} open sessions.",
                hint="Close a session with `closeSession`; `sessions(open: true)` lists them.",
                retry_after_s=1,
            )
        return added

    async def record_opened(
        self: "DatabaseSessions[Session]",
        session_id: UUID,
        status: SessionStatus,
        *,
        pid: int,
        started_at: str,
    ) -> DatabaseSessionRow | None:
        """Returns None if the session was closed while it opened."""
        values = {**status._asdict(), "pid": pid, "backend_started": started_at}
        return await self.one(self._record_opened(), id=session_id, **values)

    async def begin_statement(
        self: "DatabaseSessions[Session]", session_id: UUID, *, process: int
    ) -> DatabaseSessionRow | None:
        """Marks the session RUNNING and locks its row until the end of the transaction.

        Returns None if the process may send nothing: the session is closed, or is to be closed.
        """
        return await self.one(self._begin_statement(), id=session_id, process=process)

    async def end_statement(
        self: "DatabaseSessions[Session]", session_id: UUID, status: SessionStatus, *, process: int
    ) -> DatabaseSessionRow | None:
        """Records the state after a statement. Returns None if the session is closed."""
        values = status._asdict()
        return await self.one(self._end_statement(), id=session_id, process=process, **values)

    async def warn(
        self: "DatabaseSessions[Session]", session_id: UUID, reason: CloseReason, *, process: int
    ) -> bool:
        """Records that the session will close at `expires_at`."""
        values = {"warning": reason, "process": process}
        return bool(await self.run(self._warn(), id=session_id, **values))

    async def request_close(
        self: "DatabaseSessions[Session]", session_id: UUID
    ) -> DatabaseSessionRow | None:
        """Asks the process that holds the session to close it. None if it was asked before."""
        return await self.one(self._request_close(), id=session_id)

    async def open_on(self, connection_id: UUID) -> Sequence[DatabaseSessionRow]:
        """The open sessions on a connection."""
        return await self.all(self._open_on(), connection_id=connection_id)

    async def close(
        self: "DatabaseSessions[Session]", session_id: UUID, reason: CloseReason
    ) -> DatabaseSessionRow | None:
        """Returns None, and changes nothing, if the session is closed."""
        return await self.one(self._close(), id=session_id, reason=reason)

    async def delete_opening(self: "DatabaseSessions[Session]", session_id: UUID) -> bool:
        """Deletes a session that could not be opened."""
        return bool(await self.run(self._delete_opening(), id=session_id))

    @statement
    def _lock_row(cls) -> ClauseElement:
        return cls.owned().where(cls.table().c.id == bindparam("id")).with_for_update(read=True)

    @statement
    def _lock(cls) -> ClauseElement:
        return select(owner_lock("sessions"))

    @change_statement
    def _add(cls) -> ClauseElement:
        table, other = cls.table(), cls.table().alias("other").c
        opened = (
            select(func.count().label("sessions"))
            .where(other.owner_id == bindparam("owner_id"), other.closed_at.is_(None))
            .subquery("opened")
        )
        names = ("id", "owner_id", *NewSession._fields, "process")
        values: dict[str, Any] = {name: bindparam(name, type_=table.c[name].type) for name in names}
        new = select(*values.values()).where(
            opened.c.sessions < bindparam("max_open", type_=Integer()), ~is_fenced()
        )
        insertion = insert(table).from_select(list(values), new, include_defaults=False)
        return insertion.returning(*cls.columns())

    @statement
    def _is_fenced(cls) -> ClauseElement:
        return select(is_fenced())

    @change_statement
    def _record_opened(cls) -> ClauseElement:
        values = {
            "backend_pid": bindparam("pid", type_=Integer()),
            "backend_started_at": bindparam("backend_started", type_=Text()),
        }
        opening = cls._open().where(cls.table().c.state == SessionState.OPENING)
        return opening.values(values | cls._status()).returning(*cls.columns())

    @change_statement
    def _begin_statement(cls) -> ClauseElement:
        held = cls.table().c
        values = {
            "state": SessionState.RUNNING,
            "last_used_at": func.clock_timestamp(),
            "expires_at": held.transaction_started_at + _interval(held.transaction_timeout_ms),
            "warning": None,
            "revision": held.revision + 1,
        }
        change = cls._open().where(
            held.process == bindparam("process"),
            held.close_requested_at.is_(None),
            held.state != SessionState.OPENING,
        )
        return change.values(values).returning(*cls.columns())

    @change_statement
    def _end_statement(cls) -> ClauseElement:
        change = cls._open().where(cls.table().c.process == bindparam("process"))
        return change.values(cls._status()).returning(*cls.columns())

    @change_statement
    def _warn(cls) -> ClauseElement:
        held = cls.table().c
        change = cls._open().where(held.process == bindparam("process"))
        values: dict[str, Any] = {"warning": bindparam("warning"), "revision": held.revision + 1}
        return change.values(values).returning(held.id)

    @change_statement
    def _request_close(cls) -> ClauseElement:
        held = cls.table().c
        change = cls._open().where(held.close_requested_at.is_(None))
        values = {"close_requested_at": func.now(), "revision": held.revision + 1}
        return change.values(values).returning(*cls.columns())

    @statement
    def _open_on(cls) -> ClauseElement:
        held = cls.table().c
        on = held.connection_id == bindparam("connection_id")
        return cls.owned().where(on, held.closed_at.is_(None)).order_by(held.id)

    @change_statement
    def _close(cls) -> ClauseElement:
        held = cls.table().c
        values: dict[str, Any] = {
            "state": SessionState.CLOSED,
            "close_reason": bindparam("reason"),
            "closed_at": func.clock_timestamp(),
            "transaction_started_at": None,
            "statement_count": 0,
            "warning": None,
            "expires_at": None,
            "revision": held.revision + 1,
        }
        return cls._open().values(values).returning(*cls.columns())

    @change_statement
    def _delete_opening(cls) -> ClauseElement:
        held = cls.table().c
        opening = (held.id == bindparam("id"), held.state == SessionState.OPENING)
        return cls.owned_delete().where(*opening).returning(held.id)

    @statement
    def _count_open(cls) -> ClauseElement:
        return cls.owned(func.count()).where(cls.table().c.closed_at.is_(None))

    @statement
    def _page(cls, is_open: bool | None, shape: PageShape) -> ClauseElement:  # noqa: FBT001 - a shape, passed by position
        return cls.select_page(cls._listed(cls.owned(), is_open=is_open), NEWEST, shape)

    @statement
    def _count(cls, is_open: bool | None) -> ClauseElement:  # noqa: FBT001 - a shape, passed by position
        return cls._listed(cls.owned(func.count()), is_open=is_open)

    @classmethod
    def _listed(cls, query: Select[Any], *, is_open: bool | None) -> Select[Any]:
        held = cls.table().c
        query = query.where(held.for_script.is_(False))
        if is_open is None:
            return query
        return query.where(held.closed_at.is_(None) if is_open else held.closed_at.is_not(None))

    @classmethod
    def _open(cls) -> Update:
        held = cls.table().c
        return cls.owned_update().where(held.id == bindparam("id"), held.closed_at.is_(None))

    @classmethod
    def _status(cls) -> dict[str, Any]:
        """The time-outs begin by the clock of the database, which is the one that judges them."""
        held, now = cls.table().c, func.statement_timestamp()
        age = bindparam("transaction_age", type_=Interval())
        is_new = bindparam("is_new_transaction", type_=Boolean())
        started_at = case(
            (age.is_(None), null()), (is_new, now - age), else_=held.transaction_started_at
        )
        return {
            "state": bindparam("state"),
            "transaction_started_at": started_at,
            "statement_count": bindparam("statement_count", type_=Integer()),
            "expires_at": func.least(
                now + _interval(held.idle_timeout_ms),
                started_at + _interval(held.transaction_timeout_ms),
            ),
            "last_used_at": now,
            "revision": held.revision + 1,
        }


def _interval(milliseconds: Any) -> Any:
    return func.make_interval(0, 0, 0, 0, 0, 0, milliseconds / 1000.0)


def closed_error(session: DatabaseSessionRow, *, field: str) -> Conflict:
    reason = session.close_reason or CloseReason.CLIENT
    return Conflict(
        f"This session is closed ({reason}).",
        hint="Open another session with `openSession`: its transaction was rolled back.",
        field=field,
    )
