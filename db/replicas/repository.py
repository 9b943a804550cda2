"""Statements on the processes that serve this database. PostgreSQL's clock judges all of them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Interval,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.sql import ClauseElement

from db.kit.live_processes import GAP, SILENT_AFTER, ReplicaProcess, is_judge
from db.kit.repository import S
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement

KEPT_FOR = timedelta(days=30)
"""How long the row of a dead process is kept: the process may still wake up."""


class ReplicaProcessRow(NamedTuple):
    process: int
    started_at: datetime
    seen_at: datetime
    version: str
    host: str
    installation_id: UUID | None
    fingerprints: Mapping[str, Any]


class ReplicaProcesses(Generic[S]):
    """Each method runs one statement, so those that change rows can run in `Database.write`."""

    def __init__(self, session: S) -> None:
        self._session = session

    async def list_live(self) -> Sequence[ReplicaProcessRow]:
        """The processes with recent heartbeats, the oldest first."""
        found = await self._session.rows(self._list_live(), silent=SILENT_AFTER)
        return [ReplicaProcessRow(*row) for row in found]

    async def register(
        self: "ReplicaProcesses[Session]",
        process: int,
        *,
        version: str,
        host: str,
        installation_id: UUID | None = None,
        fingerprints: Mapping[str, str] | None = None,
    ) -> None:
        values = {"version": version, "host": host, "installation_id": installation_id}
        given = dict(fingerprints or {})
        await self._session.rows(self._register(), process=process, fingerprints=given, **values)

    async def beat(self: "ReplicaProcesses[Session]", process: int) -> bool:
        """Records a heartbeat. Returns False if the process was found dead, or was removed."""
        return bool(await self._session.rows(self._beat(), process=process, gap=GAP))

    async def silence_of(self, process: int) -> timedelta | None:
        """How long a process had been silent when it was found dead. None if it was not."""
        found = await self._session.rows(self._silence_of(), process=process)
        silent: timedelta | None = found[0][0] if found else None
        return silent

    async def fence_silent(
        self: "ReplicaProcesses[Session]", judge: int
    ) -> Sequence[tuple[int, str]]:
        """Fences the processes that have been silent for SILENT_AFTER; returns numbers and hosts.

        Fences none if `judge`, the process that asks, is no judge.
        """
        found = await self._session.rows(self._fence_silent(), judge=judge, silent=SILENT_AFTER)
        return [(row[0], row[1]) for row in found]

    async def remove(self: "ReplicaProcesses[Session]", process: int) -> None:
        """Removes a process that has ended all its work."""
        await self._session.rows(self._remove(), process=process)

    async def sweep(self: "ReplicaProcesses[Session]", *, keep: timedelta = KEPT_FOR) -> int:
        """Deletes the rows of processes that died `keep` ago; returns their number."""
        return len(await self._session.rows(self._sweep(), keep=keep))

    @statement
    def _list_live(cls) -> ClauseElement:
        rows = select(*(_ROW[name] for name in ReplicaProcessRow._fields))
        return rows.where(_IS_LIVE, _ROW.seen_at >= _ago("silent")).order_by(
            _ROW.started_at, _ROW.process
        )

    @statement
    def _silence_of(cls) -> ClauseElement:
        return select(_ROW.fenced_at - _ROW.seen_at).where(_IS_SELF)

    @change_statement
    def _register(cls) -> ClauseElement:
        names = ("process", "version", "host", "installation_id", "fingerprints")
        values: dict[str, Any] = {name: bindparam(name, type_=_ROW[name].type) for name in names}
        return insert(ReplicaProcess).values(values).returning(_ROW.process)

    @change_statement
    def _beat(cls) -> ClauseElement:
        is_gap = or_(_ROW.seen_at < _ago("gap"), _ROW.seen_at > _NOW)  # or the clock was set back
        steady = case((is_gap, _NOW), else_=_ROW.steady_since)
        values: dict[str, Any] = {"seen_at": _NOW, "steady_since": steady}
        return (
            update(ReplicaProcess).where(_IS_SELF, _IS_LIVE).values(values).returning(_ROW.process)
        )

    @change_statement
    def _fence_silent(cls) -> ClauseElement:
        silent = update(ReplicaProcess).where(_IS_LIVE, _ROW.seen_at < _ago("silent"), is_judge())
        return silent.values(fenced_at=_NOW).returning(_ROW.process, _ROW.host)

    @change_statement
    def _remove(cls) -> ClauseElement:
        return delete(ReplicaProcess).where(_IS_SELF).returning(_ROW.process)

    @change_statement
    def _sweep(cls) -> ClauseElement:
        return delete(ReplicaProcess).where(_ROW.fenced_at < _ago("keep")).returning(_ROW.process)


_ROW = ReplicaProcess.__table__.c
_NOW: Any = func.clock_timestamp()
_IS_SELF: Any = _ROW.process == bindparam("process", type_=BigInteger())
_IS_LIVE: Any = _ROW.fenced_at.is_(None)


def _ago(name: str) -> Any:
    return _NOW - bindparam(name, type_=Interval())
