"""Gives the queued scripts of a session to its worker."""

import asyncio
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from db.connections import Connections
from db.events import EventBus
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.scripts import (
    QueuedScript,
    ScriptProgress,
    ScriptRuns,
    ScriptState,
    ScriptTransaction,
    sessions_with_queued_scripts,
)
from db.workbench.execution.request.run_request import RunLimits
from db.workbench.scripts.execution import ScriptExecution
from db.workbench.scripts.script_failures import OPEN_TRANSACTION, encode
from db.workbench.scripts.script_topics import publish_script
from db.workbench.scripts.splitter import split_script
from db.workbench.sessions.work import SessionEnded, Work

if TYPE_CHECKING:  # psycopg is imported with the first session, not at the start
    from db.workbench.sessions.held_session import HeldSession


class QueuedScripts:
    """The scripts that were submitted to sessions."""

    def __init__(self, database: Database, events: EventBus, limits: RunLimits) -> None:
        self._database = database
        self._events = events
        self._limits = limits

    async def sessions(self, process: int) -> Collection[UUID]:
        async with self._database.read() as session:
            return await sessions_with_queued_scripts(session, process=process)

    async def oldest(self, held: "HeldSession") -> datetime | None:
        async with self._database.read() as session:
            return await ScriptRuns(session, held.row.owner_id).oldest(held.row.id)

    async def next_work(self, held: "HeldSession") -> Work | None:
        owner = held.row.owner_id
        async with self._database.read() as session:
            queued = await ScriptRuns(session, owner).next_queued(held.row.id)
            if queued is None:
                return None
            connection_id = held.row.connection_id
            connection = (
                None
                if connection_id is None
                else await Connections(session, owner).get(connection_id)
            )
        if connection is None:
            raise SessionEnded
        if queued.row.transaction == ScriptTransaction.SINGLE and held.is_in_transaction:
            await self._refuse(queued)
            return None
        statements = await asyncio.to_thread(split_script, queued.script)
        execution = ScriptExecution(
            self._database, self._events, self._limits, queued, statements, connection
        )
        return execution.run if await execution.begin(held) else None

    async def _refuse(self, queued: QueuedScript) -> None:
        row = queued.row

        async def write(session: Session) -> object:
            return await ScriptRuns(session, row.owner_id).finish(
                row.id,
                ScriptState.FAILED,
                ScriptProgress(None),
                error=encode(OPEN_TRANSACTION),
                keep=self._limits.retention,
            )

        await self._database.write(write)
        await publish_script(self._events, row.id)
