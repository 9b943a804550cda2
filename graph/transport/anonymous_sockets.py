"""Limits the sockets of an address that have not signed in."""

from collections import Counter

from db.users.throttle import network_of


class AnonymousSockets:
    """Counts by address, and by /64 network for IPv6."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> "Place | None":
        """None if the address has too many."""
        network = network_of(address)
        if self._limit is not None and self._open[network] >= self._limit:
            return None
        self._open[network] += 1
        return Place(self._open, network)


class Place:
    """Of one socket, until it signs in or ends."""

    def __init__(self, opened: Counter[str], network: str) -> None:
        self._open = opened
        self._network = network
        self._left = False

    def leave(self) -> None:
        """Idempotent."""
        if self._left:
            return
        self._left = True
        self._open[self._network] -= 1
        if not self._open[self._network]:
            del self._open[self._network]
