"""A limit on what one user may store of one kind, checked mostly without counting."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from db.errors import TooLarge
from db.kit.base import OwnerId

GRANT_S = 10.0
GRANT_SHARE = 100
MAX_GRANT = 100
MAX_OWNERS = 4_096


class OwnedRows(Protocol):
    """A repository: the session and the owner to count for."""

    @property
    def session(self) -> Any: ...

    @property
    def owner(self) -> OwnerId: ...


@dataclass(slots=True)
class _Grant:
    """What a process may still add for an owner without another count, and until when."""

    left: int
    until: float
    is_counting: bool = False
    """Whether a request counts again, and those that arrive meanwhile need not."""


class RowQuota:
    """The quota of one kind of rows, for all owners of a process.

    A count grants a hundredth of the rest of the quota, at most `max_grant`, for GRANT_S. Below a
    rest of GRANT_SHARE every insert is preceded by a count. One request counts for all that arrive
    meanwhile, concurrent inserts do not see each other, and other processes may hold grants: a user
    can exceed the quota by as many rows as requests insert during a count, and by `max_grant` for
    each other process.
    """

    def __init__(
        self,
        noun: str,
        *,
        setting: str | None,
        limit: int | None,
        count: Callable[[Any, OwnerId], Awaitable[int]],
        max_grant: int = MAX_GRANT,
        hint: str | None = None,
    ) -> None:
        """`count` receives a session and an owner. `limit` None means no limit.

        `setting` is None if the operator cannot change the limit, and `usage` does not show it.
        """
        self.limit = limit
        self._noun = noun
        self._count = count
        self._max_grant = max_grant
        self._hint = hint or f"Delete {noun} that you do not need"
        self._setting = setting
        self._grants: OrderedDict[OwnerId, _Grant] = OrderedDict()

    async def check(self, rows: OwnedRows, *, more: int = 1) -> None:
        """Call this before an insert, in its session.

        Raises:
            TooLarge: the owner would have more than `limit`.
        """
        if self.limit is None or self._use_grant(rows.owner, more):
            return
        try:
            used = await self._count(rows.session, rows.owner)
            self._require(used, more)
        except BaseException:
            self._grants.pop(rows.owner, None)
            raise
        self._grant(rows.owner, self.limit - used - more)

    async def check_inserted(self, rows: OwnedRows) -> None:
        """Like `check`, after an insert of many rows, in its transaction: an error undoes it."""
        if self.limit is not None:
            self._require(await self._count(rows.session, rows.owner), 0)

    def _use_grant(self, owner: OwnerId, more: int) -> bool:
        grant = self._grants.get(owner)
        if grant is None or grant.until <= _now():
            return False
        if grant.left < more:
            was_counting, grant.is_counting = grant.is_counting, True
            return was_counting
        grant.left -= more
        return True

    def _grant(self, owner: OwnerId, rest: int) -> None:
        left = min(rest // GRANT_SHARE, self._max_grant)
        if not left:
            self._grants.pop(owner, None)
            return
        self._grants[owner] = _Grant(left, _now() + GRANT_S)
        self._grants.move_to_end(owner)
        if len(self._grants) > MAX_OWNERS:
            self._grants.popitem(last=False)

    def _require(self, used: int, more: int) -> None:
        if self.limit is None or used + more <= self.limit:
            return
        advice = f"{self._hint}."
        if self._setting is not None:
            advice = (
                f"{self._hint}, or ask the operator to raise {self._setting}. "
                "`viewer { usage }` shows what you use."
            )
        raise TooLarge(
            f"You would have {used + more} {self._noun}; the limit is {self.limit}.", hint=advice
        )


def _now() -> float:
    return time.monotonic()
