"""Limits what users hold in memory, where only a read shows how large it is."""

from collections import Counter
from collections.abc import Hashable

from db.errors import Overloaded


class HeldBytes:
    """The bytes that each user holds. What is under way when the limit is reached may exceed it."""

    def __init__(self, noun: str, *, of_one_user: int, total: int) -> None:
        """`noun` names in errors what is held, in the plural."""
        self._noun = noun
        self._of_one_user = of_one_user
        self._total = total
        self._bytes: Counter[Hashable] = Counter()
        self._in_use = 0

    def require_room(self, user: Hashable) -> None:
        """Call before a read.

        Raises:
            Overloaded: The user holds too much, or more than an equal part while all users
                together hold too much.
        """
        held = self._bytes.get(user)
        if held is None:
            return
        is_full = self._in_use >= self._total
        if held >= (self._total // len(self._bytes) if is_full else self._of_one_user):
            raise Overloaded(
                f"Your running operations hold {self._noun} of {held >> 20} MiB.",
                hint="Wait for some of them to complete, then retry, or request less in each.",
                retry_after_s=1,
                cause=self._noun.replace(" ", "_"),
            )

    def add(self, user: Hashable, size: int) -> None:
        self._bytes[user] += size
        self._in_use += size

    def release(self, user: Hashable, size: int) -> None:
        self._in_use -= size
        self._bytes[user] -= size
        if not self._bytes[user]:
            del self._bytes[user]
