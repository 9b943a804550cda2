"""Live status of runs, whichever replica executes them."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar
from uuid import UUID

from db.events import Event, EventBus, Watch
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.postgres.sessions import ReadSession
from db.runs import RunRow, Runs

T = TypeVar("T")


def topic_of_run(run_id: UUID) -> str:
    return f"run:{run_id.hex}"


def topic_of_owner(owner: OwnerId) -> str:
    return f"runs:{owner.hex}"


async def publish_change(events: EventBus, owner: OwnerId, run_id: UUID) -> None:
    """Wakes the followers of the run and of the owner's active runs."""
    await events.publish(topic_of_run(run_id))
    await events.publish(topic_of_owner(owner))


class LiveStatus:
    """Follows runs of an owner."""

    def __init__(self, database: Database, events: EventBus) -> None:
        self._database = database
        self._events = events

    def run(
        self, owner: OwnerId, run_id: UUID
    ) -> AbstractAsyncContextManager[Watch[RunRow | None]]:
        """Follows one run. The value is None if the owner has no such run."""
        return self._follow(owner, topic_of_run(run_id), lambda runs: runs.get(run_id))

    def active(self, owner: OwnerId) -> AbstractAsyncContextManager[Watch[Sequence[RunRow]]]:
        """Follows the queued and running runs."""
        return self._follow(owner, topic_of_owner(owner), Runs.active)

    def _follow(
        self, owner: OwnerId, topic: str, query: Callable[[Runs[ReadSession]], Awaitable[T]]
    ) -> AbstractAsyncContextManager[Watch[T]]:
        async def read(_event: Event) -> T:
            async with self._database.read() as session:
                return await query(Runs(session, owner))

        return self._events.watches.follow((owner, topic), topic, read)
