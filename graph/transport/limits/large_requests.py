"""Limits the memory of the large requests that a sender has in progress.

Decoded, a body of 1 MB takes up to 24 MB. Requests wait after that for what admits operations, so
that a hundred connections without an account filled 2.4 GB. Before that, a client that stalls keeps
what it has sent in memory: a thousand connections of one address filled 1 GB.
"""

from collections.abc import Hashable

from db.concurrency.fair_slots import FairSlots

LARGE_CHARACTERS = 8_192
"""Smaller ones take at most 400 MB, for the 2,000 that admission lets wait."""
MAX_BYTES = 256 * 2**20
"""Of one sender, when decoded."""
MAX_BODY_BYTES = 64 * 2**20
"""Of one network, as they are received and until they may be decoded."""
MAX_BODY_BYTES_TOTAL = 512 * 2**20
MAX_WAITING = 2_000
MAX_WAIT_S = 30.0
_UNIT = 1_024
_BYTES_OF_A_VALUE = 128  # an empty object in a list has 72, a member of an object up to 200


class MemoryLease:
    """Memory that a request may use until it is released."""

    def __init__(self, slots: FairSlots, sender: Hashable, weight: int) -> None:
        self._slots = slots
        self._sender = sender
        self._weight = weight

    def release(self, _: object = None) -> None:
        """Idempotent. Takes what the callback of a task gets."""
        weight, self._weight = self._weight, 0
        if weight:
            self._slots.release(self._sender, weight)


NO_LEASE = MemoryLease(FairSlots("requests"), None, 0)
"""Of a small request."""


class LargeRequests:
    """Requests of one sender wait in order of arrival; small ones do not wait."""

    def __init__(self) -> None:
        self._slots = FairSlots(
            "large requests",
            of_one_user=lambda: MAX_BYTES // _UNIT,
            max_waiting=MAX_WAITING,
            wait_s=MAX_WAIT_S,
        )
        self._bodies = FairSlots(
            "large request bodies",
            total=MAX_BODY_BYTES_TOTAL // _UNIT,
            of_one_user=lambda: MAX_BODY_BYTES // _UNIT,
            max_waiting=MAX_WAITING,
            wait_s=MAX_WAIT_S,
        )

    async def receive(self, network: str, size: int) -> MemoryLease:
        """Call before a body is received, and release when it has been decoded or dropped.

        Its sender is not known yet: the token is checked when the request is complete.

        Raises:
            RateLimited, Overloaded: Others of the network take too long.
        """
        if size < LARGE_CHARACTERS:
            return NO_LEASE
        weight = 1 + size // _UNIT
        await self._bodies.acquire(network, weight)
        return MemoryLease(self._bodies, network, weight)

    async def lease(self, sender: Hashable, size: int, commas: int) -> MemoryLease:
        """Call before a large request is decoded, and release when its operation has ended.

        `commas` of its JSON tell how many values it has at most.

        Raises:
            RateLimited, Overloaded: Others of the sender take too long.
        """
        weight = 1 + (size + commas * _BYTES_OF_A_VALUE) // _UNIT
        await self._slots.acquire(sender, weight)
        return MemoryLease(self._slots, sender, weight)
