"""Shows the other processes that this one is alive, and notices that it was found dead."""

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from uuid import UUID

from db.concurrency.retry_log import RetryLog
from db.concurrency.waiting import in_background
from db.errors import HowdahError
from db.kit.live_processes import HEARTBEAT_S
from db.postgres.engine import Database
from db.replicas.repository import ReplicaProcesses
from db.version import __version__

log = logging.getLogger(__name__)


class Heartbeat:
    """Owns the number under which this process executes runs and holds sessions.

    A process that was frozen or cut off is fenced: its number is dead, because others have taken
    over its work. It ends what is left of that work, and goes on under a new number.
    """

    def __init__(
        self,
        database: Database,
        *,
        process: int | None = None,
        identify: Callable[[], Awaitable[UUID]] | None = None,
        fingerprints: Mapping[str, str] | None = None,
    ) -> None:
        """Sends nothing before `opened`. A process draws its number, unless it is given one.

        `identify` returns the installation of the database, each time that a number is registered.
        """
        self.process = _draw() if process is None else process
        self.installation_id: UUID | None = None
        self._database = database
        self._identify = identify
        self.fingerprints = fingerprints or {}
        self._end_work: list[Callable[[], object]] = []
        self._retry_log = RetryLog(log, "send a heartbeat to the database")

    @property
    def is_failing(self) -> bool:
        """True while the database refuses heartbeats, which are changes, or does not respond."""
        return self._retry_log.is_failing

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls,
        database: Database,
        *,
        identify: Callable[[], Awaitable[UUID]] | None = None,
        fingerprints: Mapping[str, str] | None = None,
        every_s: float = HEARTBEAT_S,
    ) -> AsyncIterator["Heartbeat"]:
        """Sends heartbeats inside the block. At its end the work of the process must have ended."""
        heartbeat = cls(database, identify=identify, fingerprints=fingerprints)
        await heartbeat._register(heartbeat.process)
        # Without heartbeats this process would be found dead.
        beats = heartbeat._retry_log.repeat(heartbeat.beat, every_s=every_s)
        try:
            async with in_background(beats, name="replicas: heartbeat"):
                yield heartbeat
        finally:
            with contextlib.suppress(HowdahError):  # else it is found dead
                await heartbeat._remove()

    def on_fenced(self, end_work: Callable[[], object]) -> None:
        """`end_work` is called when the number is dead. It begins to end what runs under it."""
        self._end_work.append(end_work)

    async def is_oldest(self) -> bool:
        """Whether this is the oldest live process: what only one has to do, it does."""
        async with self._database.read() as session:
            live = await ReplicaProcesses(session).list_live()
        return bool(live) and live[0].process == self.process

    async def beat(self) -> None:
        """Sends a heartbeat; takes a new number if the old one is dead."""
        async with asyncio.timeout(HEARTBEAT_S):
            is_live = await self._database.write(
                lambda session: ReplicaProcesses(session).beat(self.process), reserved=True
            )
            if not is_live:
                await self._leave_number()

    async def _leave_number(self) -> None:
        async with self._database.read(reserved=True) as session:
            silent = await ReplicaProcesses(session).silence_of(self.process)
        if silent is None:
            log.error(
                "the database no longer has the number of this process: it was replaced, or became "
                "another installation. The process ends its runs and sessions and goes on under "
                "another number"
            )
        else:
            log.error(
                "this process was found dead, because the database had received no heartbeat of it "
                "for %.0f s: the others have interrupted its runs and closed its sessions. It ends "
                "what is left of them and goes on under another number",
                silent.total_seconds(),
            )
        for end_work in self._end_work:
            end_work()
        number = _draw()
        await self._register(number)
        self.process = number

    async def _register(self, number: int) -> None:
        if self._identify is not None:
            self.installation_id = await self._identify()
        await self._database.write(
            lambda session: ReplicaProcesses(session).register(
                number,
                version=__version__,
                host=socket.gethostname(),
                installation_id=self.installation_id,
                fingerprints=self.fingerprints,
            ),
            reserved=True,
        )

    async def _remove(self) -> None:
        await self._database.write(
            lambda session: ReplicaProcesses(session).remove(self.process), reserved=True
        )


def _draw() -> int:
    return secrets.randbits(62)
