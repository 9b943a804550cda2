"""Where the reads of one operation go."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Self

import asyncpg

from db.concurrency.fair_slots import Share
from db.errors import Overloaded, Unavailable
from db.postgres.monitoring.figures import StatementCount
from db.postgres.sessions import ReadSession, SingleReads, TextBudget
from db.postgres.standbys.figures import Fallback
from db.postgres.standbys.positions import BEYOND
from db.postgres.standbys.standby import StandbyLife
from db.postgres.standbys.standbys import Standbys
from db.postgres.statements import Statement

READ_S = 1.5
"""A read that takes longer on a standby goes to the primary. Replay of a lock may hold it up, while
the standby answers everything else."""


def reads_of(
    standbys: Standbys, header: bytes | None, *, is_anonymous: bool
) -> "OperationReads | None":
    """The reads of a request with this value of `Howdah-Seen`; None if it has no such header."""
    if header is None:
        return None
    return OperationReads(standbys, standbys.parse(header), is_anonymous=is_anonymous)


class OperationReads:
    """The reads of an operation whose client keeps a position.

    A query reads on the standby that was chosen for it. As soon as it runs a statement elsewhere,
    which is on the primary, it stays there: what it has written or read there is in no standby yet.

    An anonymous client has no rows to read on a standby. It gets BEYOND, without a question.
    """

    __slots__ = ("_is_anonymous", "_life", "_sent", "_standbys", "_statements", "seen")

    def __init__(self, standbys: Standbys, seen: int | None, *, is_anonymous: bool) -> None:
        """`seen` is the position of the client; None if any standby may lack what it has seen."""
        self.seen = seen
        self._is_anonymous = is_anonymous
        self._standbys = standbys
        self._life: StandbyLife | None = None
        self._statements: StatementCount | None = None
        self._sent = 0

    def begin_query(self, statements: StatementCount) -> None:
        """Chooses the server. `statements` counts all that the operation sends."""
        if self.seen is not None:
            self._life = self._standbys.choose(self.seen)
            self._statements = statements
            self._sent = statements.value

    @property
    def life(self) -> StandbyLife | None:
        """The standby; None for the primary."""
        if self._statements is not None and self._statements.value != self._sent:
            self._life = None
        return self._life

    def leave_standby(self) -> None:
        """The rest of the operation reads on the primary. Call before it waits for an event."""
        self._life = None

    def open(self, share: Share | None, text_budget: TextBudget | None = None) -> "RoutedReads":
        return RoutedReads(self, share, text_budget)

    def count(self) -> None:
        """Call for each statement that was sent to the standby."""
        self._sent += 1

    def fall_back(self, reason: Fallback) -> None:
        self._life = None
        self._standbys.figures.fallbacks[reason] += 1

    def on_primary(self, share: Share | None) -> SingleReads:
        return self._standbys.primary.read(share=share)

    async def position(self) -> str:
        """The position that the client has seen with the answer of this operation.

        Call it after the last statement.
        """
        if self._is_anonymous:
            return self._standbys.format(BEYOND)
        return self._standbys.format(await self._standbys.position_of(self.life))


class RoutedReads(ReadSession):
    """Runs single statements where the operation reads, at last on the primary."""

    __slots__ = ("_reads", "_share", "text_budget")

    def __init__(
        self, reads: OperationReads, share: Share | None, text_budget: TextBudget | None
    ) -> None:
        self._reads = reads
        self._share = share
        self.text_budget = text_budget

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Each statement has released its connection."""

    def rows(self, statement: Statement[Any], /, **values: Any) -> Awaitable[Sequence[Any]]:
        if (life := self._reads.life) is None:
            return self._reads.on_primary(self._share).rows(statement, **values)
        return self._rows_at(life, statement, values)

    async def _rows_at(
        self, life: StandbyLife, statement: Statement[Any], values: Mapping[str, Any]
    ) -> Sequence[Any]:
        reading = life.database.read(share=self._share).rows(statement, **values)
        self._reads.count()
        try:
            async with asyncio.timeout(READ_S) as limit:
                return await reading
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is the primary's
            self._reads.fall_back(Fallback.SLOW if limit.expired() else _fallback_of(error))
        return await self._reads.on_primary(self._share).rows(statement, **values)


def _fallback_of(error: Exception) -> Fallback:
    match error:
        case asyncpg.SerializationError() | asyncpg.DeadlockDetectedError():
            return Fallback.CONFLICT
        case Overloaded():
            return Fallback.BUSY
        case Unavailable() | OSError() | asyncpg.InterfaceError():
            return Fallback.LOST
    return Fallback.OTHER
