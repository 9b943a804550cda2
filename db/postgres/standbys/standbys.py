"""All standbys of a process, and the choice among them."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from itertools import count

import asyncpg

from db.concurrency.waiting import cancel_all, start_background
from db.errors import BadInput, HowdahError
from db.postgres.engine import Database
from db.postgres.own_cluster import OwnCluster
from db.postgres.route.urls import DatabaseUrl
from db.postgres.standbys.figures import Reason, StandbyFigures
from db.postgres.standbys.positions import BEYOND, OF_PRIMARY, PositionCipher
from db.postgres.standbys.shared_question import SharedQuestion
from db.postgres.standbys.standby import FAILURES, Standby, StandbyLife

MAX_LAG_S = 5.0
"""No read is further behind, also of a client that has seen nothing newer."""
SAMPLE_S = 0.2
POSITION_S = 1.0
"""An answer waits this long for its position."""
_FAILURES = (HowdahError, *FAILURES)


class Standbys:
    """Chooses where queries read, and tells which position an answer has seen."""

    def __init__(
        self, primary: Database, standbys: Sequence[Standby], *, cipher: PositionCipher
    ) -> None:
        self.primary = primary
        self.standbys = standbys
        self.figures = StandbyFigures()
        self._cipher = cipher
        self._position = SharedQuestion(lambda: read_position(primary))
        self._samples: deque[tuple[float, int]] = deque()
        """When the primary was asked, and the position that it had then or later.

        The first one has all migrations.
        """
        self._turns = count()
        self._task = start_background(self._sample(), name="standbys: position of the primary")

    async def close(self) -> None:
        await cancel_all([self._task])
        await asyncio.gather(*(standby.close() for standby in self.standbys))

    def choose(self, seen: int) -> StandbyLife | None:
        """A standby that has the position; None for the primary."""
        self._forget_old_samples()
        chosen = None
        if self._samples:
            needed = max(seen, self._samples[0][1])
            lives = [life for standby in self._in_turn() if (life := self._life(standby, needed))]
            chosen = min(lives, key=lambda life: life.database.in_use, default=None)
        self.figures.operations["primary" if chosen is None else "standby"] += 1
        return chosen

    async def position_of(self, life: StandbyLife | None) -> int:
        """What has been read there. BEYOND if no server says so in time."""
        if life is not None:
            with contextlib.suppress(*_FAILURES):
                async with asyncio.timeout(POSITION_S):
                    return await life.position.answer()
        with contextlib.suppress(*_FAILURES):
            async with asyncio.timeout(POSITION_S):
                return await self._position.answer()
        return BEYOND

    def parse(self, header: bytes) -> int | None:
        """What a client has seen; None if the header does not say it."""
        return self._cipher.latest(header.decode("latin-1"))

    def format(self, position: int) -> str:
        return self._cipher.encrypt(position)

    def lag_of(self, standby: Standby) -> tuple[int, float] | None:
        """Bytes and seconds that it is behind the primary; None if unknown."""
        life = standby.life
        if life is None or not self._samples:
            return None
        missing = [at for at, position in self._samples if position > life.replayed]
        now = asyncio.get_running_loop().time()
        lag_s = now - missing[0] if missing else 0.0
        return max(self._samples[-1][1] - life.replayed, 0), lag_s

    def is_usable(self, standby: Standby) -> bool:
        """Whether a client that has seen nothing lately may read there, as far as is known."""
        life = standby.life
        return life is not None and (not self._samples or life.replayed >= self._samples[0][1])

    @property
    def faults(self) -> list[str]:
        """Why standbys are not read. Names no host."""
        return [
            f"Standby {standby.number} is not read: {standby.fault}."
            for standby in self.standbys
            if not self.is_usable(standby)
        ]

    def _life(self, standby: Standby, needed: int) -> StandbyLife | None:
        life = standby.life
        if life is None:
            reason = standby.reason
        elif life.replayed < needed:
            reason = Reason.BEHIND
        elif life.is_busy:
            reason = Reason.BUSY
        else:
            return life
        self.figures.passed_over[reason] += 1
        return None

    def _in_turn(self) -> Sequence[Standby]:
        """The standbys, each time beginning with another one."""
        first = next(self._turns) % len(self.standbys)
        return (*self.standbys[first:], *self.standbys[:first])

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            asked_at = loop.time()
            with contextlib.suppress(*_FAILURES):
                position = await self._position.answer()
                self._samples.append((asked_at, position))
            self._forget_old_samples()
            await asyncio.sleep(SAMPLE_S)

    def _forget_old_samples(self) -> None:
        oldest = asyncio.get_running_loop().time() - MAX_LAG_S
        while self._samples and self._samples[0][0] < oldest:
            self._samples.popleft()


async def read_position(primary: Database) -> int:
    position: int = await primary.read(reserved=True).value(OF_PRIMARY)
    return position


@contextlib.asynccontextmanager
async def open_standbys(
    urls: Sequence[DatabaseUrl], primary: Database, *, pool_size: int, key: bytes
) -> AsyncIterator[Standbys | None]:
    """Opens the standbys of a migrated primary; None without URLs.

    A standby may be away. `key` encrypts the positions that clients keep.

    Raises:
        BadInput: the primary does not tell its system identifier or position.
    """
    if not urls:
        yield None
        return
    system = None
    with contextlib.suppress(asyncpg.PostgresError):
        await read_position(primary)
        system = (await OwnCluster(primary).identity()).system
    if system is None:
        raise BadInput(
            "HOWDAH_READ_DATABASE_URLS is set, but the database does not tell its system "
            "identifier or its position in the write-ahead log.",
            hint="Allow its user to call pg_control_system() and pg_current_wal_insert_lsn(), or "
            "unset HOWDAH_READ_DATABASE_URLS.",
        )
    standbys = Standbys(
        primary,
        [
            Standby(number, url, system, pool_size=pool_size, figures=primary.figures)
            for number, url in enumerate(urls, start=1)
        ],
        cipher=PositionCipher(key, system=system),
    )
    try:
        yield standbys
    finally:
        await standbys.close()
