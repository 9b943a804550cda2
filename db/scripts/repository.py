"""Repository of scripts. Each transition is one UPDATE conditional on the state before."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Integer,
    Interval,
    Select,
    Text,
    Update,
    Uuid,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.sql import ClauseElement

from db.errors import RateLimited
from db.kit.base import text_literals
from db.kit.lists.long_texts import ROWS_BYTES, end_after, too_much_text
from db.kit.locks import owner_lock
from db.kit.repository import Repository, S, is_any_of
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement
from db.scripts.rows import (
    ACTIVE,
    NewScript,
    QueuedScript,
    ScriptProgress,
    ScriptRunRow,
    ScriptState,
)
from db.scripts.tables import ScriptRun


class ScriptRuns(Repository[ScriptRunRow, S]):
    model = ScriptRun
    row = ScriptRunRow
    noun = "script"

    async def accept(
        self: "ScriptRuns[Session]", script_id: UUID, new: NewScript, *, max_active: int
    ) -> ScriptRunRow:
        """Queues a script.

        Raises:
            RateLimited: The owner has `max_active` queued and running scripts.
        """
        await self.run(self._lock())  # in a statement of its own: the next one has to see more
        accepted = await self.one(
            self._accept(), id=script_id, **new._asdict(), max_active=max_active
        )
        if accepted is None:
            raise RateLimited(
                f"You already have {max_active} queued or running scripts.",
                hint="Wait until some of them have ended, or cancel some.",
                retry_after_s=1,
            )
        return accepted

    async def attach(
        self: "ScriptRuns[Session]", script_id: UUID, session_id: UUID
    ) -> ScriptRunRow | None:
        """Sets the session that was opened for a queued script. None if it was cancelled.

        May be repeated, also after the script has begun.
        """
        return await self.one(self._attach(), id=script_id, session_id=session_id)

    async def next_queued(self, session_id: UUID) -> QueuedScript | None:
        """The script that has waited longest for a session."""
        found = await self.run(self._next_queued(), session_id=session_id)
        if not found:
            return None
        *fields, script, actor = found[0]
        return QueuedScript(ScriptRunRow(*fields), script, actor)

    async def oldest(self, session_id: UUID) -> datetime | None:
        """When the script that has waited longest for a session was queued. None if none waits."""
        found: datetime | None = await self.value(self._oldest(), session_id=session_id)
        return found

    async def start(self: "ScriptRuns[Session]", script_id: UUID) -> ScriptRunRow | None:
        """Starts a queued script at its first statement. None if it was cancelled."""
        return await self.one(self._start(), id=script_id)

    async def advance(
        self: "ScriptRuns[Session]", script_id: UUID, progress: ScriptProgress
    ) -> ScriptRunRow | None:
        """Records the progress before the next statement. None if nothing more may be executed."""
        return await self.one(self._advance(), id=script_id, **progress._asdict())

    async def finish(
        self: "ScriptRuns[Session]",
        script_id: UUID,
        state: ScriptState,
        progress: ScriptProgress,
        *,
        error: str | None,
        keep: timedelta,
    ) -> ScriptRunRow | None:
        """Writes the terminal state. Returns None if the script had ended before."""
        values = {"to": state, "error": error, "keep": keep, **progress._asdict()}
        return await self.one(self._finish(), id=script_id, **values)

    async def request_cancel(
        self: "ScriptRuns[Session]", script_id: UUID, *, keep: timedelta
    ) -> ScriptRunRow | None:
        """Cancels a queued script, or marks a running one. Returns None if it has ended."""
        return await self.one(self._request_cancel(), id=script_id, keep=keep)

    async def force_cancelled(
        self: "ScriptRuns[Session]", script_id: UUID, *, keep: timedelta
    ) -> ScriptRunRow | None:
        """Ends a script whose process does not end it in time."""
        return await self.one(self._force_cancelled(), id=script_id, keep=keep)

    async def discard(self: "ScriptRuns[Session]", script_id: UUID) -> None:
        """Deletes a script for which no session could be opened."""
        await self.run(self._discard(), id=script_id)

    async def texts(self, script_ids: Sequence[UUID]) -> Mapping[UUID, str]:
        """Raises TooLarge if they have more than ROWS_BYTES."""
        found, goes_on = await self.run_ended(self._texts(), ROWS_BYTES, ids=list(script_ids))
        if goes_on:
            raise too_much_text(ROWS_BYTES)
        return dict(found)

    async def text_bytes(self) -> int:
        return int(await self.value(self._text_bytes()))

    @statement
    def _lock(cls) -> ClauseElement:
        return select(owner_lock("scripts"))

    @change_statement
    def _accept(cls) -> ClauseElement:
        table, other = cls.table(), cls.table().alias("other").c
        active = (
            select(func.count().label("scripts"))
            .where(other.owner_id == bindparam("owner_id"), other.state.in_(text_literals(ACTIVE)))
            .subquery("active")
        )
        names = ("id", "owner_id", *NewScript._fields)
        values: dict[str, Any] = {name: bindparam(name, type_=table.c[name].type) for name in names}
        new = select(*values.values()).where(
            active.c.scripts < bindparam("max_active", type_=Integer())
        )
        insertion = insert(table).from_select(list(values), new, include_defaults=False)
        return insertion.returning(*cls.columns())

    @change_statement
    def _attach(cls) -> ClauseElement:
        script = cls.table().c
        session_id = bindparam("session_id", type_=Uuid())
        is_attachable = or_(script.state == ScriptState.QUEUED, script.session_id == session_id)
        change = cls.owned_update().where(script.id == bindparam("id"), is_attachable)
        return change.values(session_id=session_id).returning(*cls.columns())

    @statement
    def _next_queued(cls) -> ClauseElement:
        script = cls.table().c
        return cls._queued(*cls.columns(), script.script, script.actor)

    @statement
    def _oldest(cls) -> ClauseElement:
        return cls._queued(cls.table().c.created_at)

    @classmethod
    def _queued(cls, *columns: Any) -> Select[Any]:
        script = cls.table().c
        waiting = cls.owned(*columns).where(
            script.session_id == bindparam("session_id", type_=Uuid()),
            script.state == ScriptState.QUEUED,
        )
        return waiting.order_by(script.created_at, script.id).limit(1)

    @change_statement
    def _start(cls) -> ClauseElement:
        script = cls.table().c
        change = cls.owned_update().where(
            script.id == bindparam("id"), script.state == ScriptState.QUEUED
        )
        values = {
            "state": ScriptState.RUNNING,
            "started_at": func.clock_timestamp(),
            "current_index": 0,
            "revision": script.revision + 1,
        }
        return change.values(values).returning(*cls.columns())

    @change_statement
    def _advance(cls) -> ClauseElement:
        script = cls.table().c
        change = cls.owned_update().where(
            script.id == bindparam("id"),
            script.state == ScriptState.RUNNING,
            script.cancel_requested_at.is_(None),
        )
        return change.values(cls._progress()).returning(*cls.columns())

    @change_statement
    def _finish(cls) -> ClauseElement:
        values = {**cls._progress(), **cls._ended(), "error": bindparam("error", type_=Text())}
        values["state"] = bindparam("to", type_=Text())
        return cls._active().values(values).returning(*cls.columns())

    @change_statement
    def _request_cancel(cls) -> ClauseElement:
        script = cls.table().c
        queued = script.state == ScriptState.QUEUED
        values = {
            "cancel_requested_at": func.coalesce(script.cancel_requested_at, func.now()),
            "state": case((queued, ScriptState.CANCELLED), else_=script.state),
            "finished_at": case((queued, func.now())),
            "expires_at": case((queued, func.now() + bindparam("keep", type_=Interval()))),
            "revision": script.revision + 1,
        }
        return cls._active().values(values).returning(*cls.columns())

    @change_statement
    def _force_cancelled(cls) -> ClauseElement:
        values = {**cls._ended(), "state": ScriptState.CANCELLED}
        values["revision"] = cls.table().c.revision + 1
        return cls._active().values(values).returning(*cls.columns())

    @change_statement
    def _discard(cls) -> ClauseElement:
        script = cls.table().c
        queued = (script.id == bindparam("id"), script.state == ScriptState.QUEUED)
        return cls.owned_delete().where(*queued).returning(script.id)

    @statement
    def _texts(cls) -> ClauseElement:
        script = cls.table().c
        texts = cls.owned(script.id, script.script).where(is_any_of(script.id))
        return end_after(texts, ["script"], [("id", False)], ROWS_BYTES)

    @statement
    def _text_bytes(cls) -> ClauseElement:
        """The size of a text is in its row, so none is read."""
        return cls.owned(func.coalesce(func.sum(func.octet_length(cls.table().c.script)), 0))

    @classmethod
    def _active(cls) -> Update:
        script = cls.table().c
        return cls.owned_update().where(
            script.id == bindparam("id"), script.state.in_(text_literals(ACTIVE))
        )

    @classmethod
    def _progress(cls) -> dict[str, Any]:
        names = ScriptProgress._fields
        values: dict[str, Any] = {name: bindparam(name, type_=Integer()) for name in names}
        return values | {"revision": cls.table().c.revision + 1}

    @classmethod
    def _ended(cls) -> dict[str, Any]:
        return {
            "finished_at": func.clock_timestamp(),
            "expires_at": func.now() + bindparam("keep", type_=Interval()),
        }
