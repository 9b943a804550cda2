"""Limits the open sockets of an address that have not signed in, and those of a user."""

from collections import Counter
from collections.abc import Hashable


class SocketLimit:
    """Counts sockets by their holder: a network or a user."""

    def __init__(self, limit: int | None) -> None:
        """There is no limit if it is None."""
        self.limit = limit
        self._open: Counter[Hashable] = Counter()

    def enter(self, holder: Hashable) -> "SocketSlot | None":
        """None if the holder has too many."""
        if self.limit is not None and self._open[holder] >= self.limit:
            return None
        self._open[holder] += 1
        return SocketSlot(self._open, holder)


class SocketSlot:
    """Counts one socket, until it ends or belongs to another holder."""

    def __init__(self, opened: Counter[Hashable], holder: Hashable) -> None:
        self._open = opened
        self._holder = holder
        self._left = False

    def leave(self) -> None:
        """Counts the socket no more. Idempotent."""
        if self._left:
            return
        self._left = True
        self._open[self._holder] -= 1
        if not self._open[self._holder]:
            del self._open[self._holder]
