"""What one user may request in a minute, over all replicas."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from db.errors import RateLimited, TooLarge
from db.postgres.engine import Database
from db.users.attempt_counts import Attempts, Limit

WINDOW = timedelta(minutes=1)
GRANTS = 20
"""A replica takes a twentieth of the allowance at a time: at most 20 statements a minute for it."""
MAX_USERS = 4_096


class Standing(NamedTuple):
    """What a user may still request, and when the whole allowance is there again."""

    remaining: int
    resets_at: datetime


@dataclass(slots=True)
class _Share:
    """What this process has taken from the counter of a user and not spent."""

    left: int
    rest: int  # what the counter had besides, when it was last read
    ends_at: float
    resets_at: datetime


class CostAllowance:
    """Counts the cost of operations in the database, in grants that each process spends.

    A window starts with the first operation. What another replica has been granted counts as spent.
    """

    def __init__(
        self, database: Database, limit: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self._database = database
        self._clock = clock
        self._shares: OrderedDict[UUID, _Share] = OrderedDict()

    def standing(self, user: UUID) -> Standing:
        """As far as this process knows, without a statement."""
        share = self._current(user)
        if share is None:
            return Standing(self.limit, datetime.now(UTC))
        return Standing(share.left + share.rest, share.resets_at)

    async def spend(self, user: UUID, cost: int) -> None:
        """Count the cost of an operation before it runs.

        Raises:
            TooLarge: the cost exceeds the whole allowance.
            RateLimited: it exceeds what is left of it.
        """
        if cost > self.limit:
            raise TooLarge(
                f"The operation requests up to {cost:,} fields; a user may request "
                f"{self.limit:,} in a minute.",
                hint="Lower its page sizes, or split it into several operations.",
            )
        share = self._current(user)
        while share is None or (share.left < cost and share.rest > 0):
            # Again, if others have spent meanwhile what was left.
            share = await self._grant(user, cost - (share.left if share else 0))
        if share.left < cost:
            wait_s = max(share.ends_at - self._clock(), 1)
            raise RateLimited(
                f"The operation requests up to {cost:,} fields; {share.left:,} of the "
                f"{self.limit:,} of this minute are left.",
                hint=f"Retry in {wait_s:.0f} seconds, or lower the page sizes.",
                retry_after_s=wait_s,
            )
        share.left -= cost

    def _current(self, user: UUID) -> _Share | None:
        share = self._shares.get(user)
        return share if share is not None and share.ends_at > self._clock() else None

    async def _grant(self, user: UUID, needed: int) -> _Share:
        amount = max(needed, self.limit // GRANTS)
        key = sha256(b"cost " + user.bytes).digest()
        limit = Limit(self.limit, WINDOW)
        count, left_s = await self._database.write(
            lambda session: Attempts(session).spend(key, limit, amount)
        )
        granted = amount - min(max(count - self.limit, 0), amount)
        ends_at = self._clock() + left_s
        share = self._current(user)
        if share is not None and ends_at < share.ends_at + 1:  # else the window is a new one
            granted += share.left
        share = self._shares[user] = _Share(
            left=granted,
            rest=max(self.limit - count, 0),
            ends_at=ends_at,
            resets_at=datetime.now(UTC) + timedelta(seconds=left_s),
        )
        self._shares.move_to_end(user)
        if len(self._shares) > MAX_USERS:
            self._shares.popitem(last=False)
        return share
