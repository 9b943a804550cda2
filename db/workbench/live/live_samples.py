"""Samples running statements, whichever replica executes them, while they are watched."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

from db.events import Event, EventBus, Watch
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.runs import RunBackend, Runs
from db.workbench.connections.workbench import Workbench
from db.workbench.drivers import load_drivers
from db.workbench.live.values import NOTHING, LiveSample

if TYPE_CHECKING:  # psycopg is imported with the first sample, not at the start
    from db.workbench.live.target_sampler import TargetSampler

INTERVAL_S = 0.5
"""Between two samples of a run that is followed."""

Key: TypeAlias = tuple[OwnerId, UUID]


class LiveSamples:
    """Has one side connection for each owner and connection, shared by all who watch its runs."""

    def __init__(self, database: Database, events: EventBus, workbench: Workbench) -> None:
        self._database = database
        self._events = events
        self._workbench = workbench
        self._samplers: dict[Key, TargetSampler] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls, database: Database, events: EventBus, workbench: Workbench
    ) -> AsyncIterator["LiveSamples"]:
        samples = cls(database, events, workbench)
        try:
            yield samples
        finally:
            closing = [sampler.close() for sampler in samples._samplers.values()]
            await asyncio.gather(*closing)

    async def sample(
        self, owner: OwnerId, backends: Iterable[RunBackend]
    ) -> Mapping[UUID, LiveSample]:
        """Samples once, by run. A run whose target does not answer has an empty sample."""
        asked = list(backends)
        found = await asyncio.gather(*(self._sample(owner, each) for each in asked))
        return {each.run_id: sample for each, sample in zip(asked, found, strict=True)}

    def follow(
        self, owner: OwnerId, run_id: UUID
    ) -> AbstractAsyncContextManager[Watch[LiveSample]]:
        """Samples a run again and again, once for all followers in this process."""
        backend: RunBackend | None = None

        async def read(_event: Event) -> LiveSample:
            nonlocal backend
            if backend is None:  # it connects: its backend is not known yet
                async with self._database.read() as session:
                    backend = next(iter(await Runs(session, owner).backends([run_id])), None)
            return NOTHING if backend is None else await self._sample(owner, backend)

        topic = f"live:{run_id.hex}"  # nothing is published: the pace is that of the polls
        return self._events.watches.follow((owner, topic), topic, read, poll_s=INTERVAL_S)

    async def _sample(self, owner: OwnerId, asked: RunBackend) -> LiveSample:
        await load_drivers()
        return await self._sampler(owner, asked.connection_id).sample(asked.backend)

    def _sampler(self, owner: OwnerId, connection_id: UUID) -> "TargetSampler":
        from db.workbench.live.target_sampler import TargetSampler

        key = owner, connection_id
        sampler = self._samplers.get(key)
        if sampler is None or sampler.is_closed:
            sampler = self._samplers[key] = TargetSampler(
                lambda: self._workbench.side_connection(owner, connection_id, stays_open=True),
                self._discard_closed,
            )
        return sampler

    def _discard_closed(self) -> None:
        open_samplers = self._samplers.items()
        self._samplers = {key: each for key, each in open_samplers if not each.is_closed}
