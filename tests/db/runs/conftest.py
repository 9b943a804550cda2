"""Runs of one owner in the database, which nothing executes."""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

import pytest

from db.kit.base import OwnerId, new_id
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.runs import NewRun, RunQueue, RunRow
from tests.fixtures.workbench import ConnectionSaver

PROCESS = 1


class Queue(NamedTuple):
    """The runs of one owner. Each call commits, as the times of a run are those of transactions."""

    database: Database
    owner: OwnerId
    connection_id: UUID

    async def accept(self, *, process: int = PROCESS, has_slot: bool = False) -> RunRow:
        new = NewRun(self.connection_id, "SELECT 1", "[]", False, 1_000, 10, 1_000)

        async def write(session: Session) -> RunRow:
            queue = RunQueue(session, self.owner)
            return await queue.accept(
                await queue.lock(),
                new_id(),
                new,
                process=process,
                has_slot=has_slot,
                backend=None,
                max_running=10,
                max_active=10,
            )

        return await self.database.transaction(write)

    async def claim(
        self, *, process: int = PROCESS, executing: Collection[UUID] = (), max_running: int = 10
    ) -> UUID | None:
        claimed = await self.database.transaction(
            lambda session: RunQueue(session, self.owner).claim_next(
                process=process, executing=executing, max_running=max_running
            )
        )
        return claimed and claimed.id


@pytest.fixture
async def queue(
    committed: Database, committed_owner: OwnerId, committed_saver: ConnectionSaver
) -> Queue:
    return Queue(committed, committed_owner, await committed_saver.save())
