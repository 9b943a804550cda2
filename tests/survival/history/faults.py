"""A schedule of faults, drawn from a seed, and the replicas and databases that suffer them."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

from tests.fixtures.failover import FailoverPair, Server
from tests.fixtures.network import Link
from tests.fixtures.standbys import StandbyGroup
from tests.fixtures.targets import Target
from tests.survival.soak.replicas import Replica


class Kind(StrEnum):
    KILL = "kill and restart"
    FREEZE = "freeze"
    PARTITION = "partition"
    RESET = "reset"
    RESTART_DATABASE = "restart of the database"
    FREEZE_DATABASE = "freeze of the database"
    FREEZE_STANDBY = "freeze of the standby"
    PROMOTE = "promotion"
    PAUSE_REPLAY = "pause of the replay"
    RESTART_STANDBY = "restart of a standby"


ON_PAIR = [kind for kind in Kind if kind not in {Kind.PAUSE_REPLAY, Kind.RESTART_STANDBY}]
"""Those of a primary with a synchronous standby."""
ON_STANDBYS = list(Kind)
"""Those of a primary with standbys that are read."""


class Fault(NamedTuple):
    """Begins after a number of operations; the next one begins when it is over."""

    after: int
    kind: Kind
    victim: int
    seconds: float


class Group:
    """Replicas, each with links of its own to the two databases, and a database of the users."""

    def __init__(
        self,
        replicas: list[Replica],
        links: list[list[Link]],
        databases: FailoverPair,
        target: Target,
        readers: Sequence[Server] = (),
    ) -> None:
        """`readers` are the standbys that are read."""
        self.replicas = replicas
        self.readers = readers
        self.databases = databases
        self.target = target
        self._links = links

    async def suffer(self, fault: Fault) -> None:
        """Returns when the fault is over."""
        suffer: dict[Kind, Callable[[Fault], Awaitable[None]]] = {
            Kind.KILL: self._kill,
            Kind.FREEZE: self._freeze,
            Kind.PARTITION: self._partition,
            Kind.RESET: self._reset,
            Kind.RESTART_DATABASE: self._restart_database,
            Kind.FREEZE_DATABASE: self._freeze_database,
            Kind.FREEZE_STANDBY: self._freeze_standby,
            Kind.PROMOTE: self._promote,
            Kind.PAUSE_REPLAY: self._pause_replay,
            Kind.RESTART_STANDBY: self._restart_standby,
        }
        await suffer[fault.kind](fault)

    async def _kill(self, fault: Fault) -> None:
        replica = self.replicas[fault.victim]
        await replica.kill()
        await asyncio.sleep(fault.seconds / 4)
        await replica.start()

    async def _freeze(self, fault: Fault) -> None:
        replica = self.replicas[fault.victim]
        replica.freeze()
        await asyncio.sleep(fault.seconds)
        replica.thaw()

    async def _partition(self, fault: Fault) -> None:
        """The replica does not reach the databases, and its clients reach it."""
        for link in self._links[fault.victim]:
            link.cut()
        await asyncio.sleep(fault.seconds)
        for link in self._links[fault.victim]:
            link.mend()

    async def _reset(self, fault: Fault) -> None:
        for link in self._links[fault.victim]:
            link.reset()

    async def _restart_database(self, fault: Fault) -> None:
        await self.databases.primary.kill()
        await asyncio.sleep(fault.seconds / 4)
        await self.databases.primary.start()

    async def _freeze_database(self, fault: Fault) -> None:
        self.databases.primary.freeze()
        await asyncio.sleep(fault.seconds)
        self.databases.primary.thaw()

    async def _freeze_standby(self, fault: Fault) -> None:
        """Without `readers`, no commit is acknowledged meanwhile, and none is left if promoted."""
        standby = self._reader(fault) if self.readers else self.databases.standby
        if standby is not None:
            standby.freeze()
            await asyncio.sleep(fault.seconds)
            standby.thaw()

    async def _pause_replay(self, fault: Fault) -> None:
        standby = self._reader(fault)
        await standby.administer("SELECT pg_wal_replay_pause()")
        await asyncio.sleep(fault.seconds)
        await standby.administer("SELECT pg_wal_replay_resume()")

    async def _restart_standby(self, fault: Fault) -> None:
        standby = self._reader(fault)
        await standby.kill()
        await asyncio.sleep(fault.seconds / 4)
        await standby.start()

    def _reader(self, fault: Fault) -> Server:
        return self.readers[fault.victim % len(self.readers)]

    async def _promote(self, _: Fault) -> None:
        """Of `readers`, the one that has received most. It is read until it is found promoted."""
        if not self.readers:
            await self.databases.promote()
            return
        left = await StandbyGroup(self.databases.primary, [*self.readers]).fail_over()
        self.databases.primary, self.readers = left.primary, left.standbys


def plan_faults(
    dice: random.Random,
    *,
    operations: int,
    count: int,
    longest_s: float,
    replicas: int,
    kinds: Sequence[Kind] = ON_PAIR,
) -> list[Fault]:
    """Every kind at least once if there are enough, with one promotion if it is among them."""
    repeated = [kind for kind in kinds if kind is not Kind.PROMOTE]
    dice.shuffle(repeated)
    once = min(count, len(kinds) - len(repeated))
    drawn: list[Kind] = [repeated[number % len(repeated)] for number in range(count - once)]
    if once:
        drawn.insert(dice.randint(len(drawn) // 2, len(drawn)), Kind.PROMOTE)
    every = operations / (count + 1)
    return [
        Fault(
            after=int((number + dice.random()) * every),
            kind=kind,
            victim=dice.randrange(replicas),
            seconds=dice.uniform(longest_s / 10, longest_s),
        )
        for number, kind in enumerate(drawn)
    ]
