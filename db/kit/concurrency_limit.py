"""Limits concurrent operations, in total and for each user."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from db.errors import Overloaded


class ConcurrencyLimit:
    """Raises Overloaded if all slots, or all slots of the owner, are in use.

    A quarter of the slots is kept for owners who hold none.
    """

    def __init__(self, noun: str, *, at_once: int, of_one_user: int) -> None:
        """`noun` names the operations in errors, in the plural."""
        self._noun = noun
        self._at_once = at_once
        self._shared = at_once - at_once // 4
        self._of_one_user = of_one_user
        self._held: Counter[UUID] = Counter()

    @property
    def in_use(self) -> int:
        return self._held.total()

    @contextmanager
    def slot(self, owner: UUID) -> Iterator[None]:
        held = self._held[owner]
        free = (self._shared if held else self._at_once) - self.in_use
        if free <= 0 or held >= self._of_one_user:
            raise Overloaded(
                f"Too many {self._noun} are running at once.",
                hint=f"Run at most {self._of_one_user} at a time, and try again later.",
                retry_after_s=1,
            )
        self._held[owner] += 1
        try:
            yield
        finally:
            self._held[owner] -= 1
            self._held += Counter()  # removes owners whose count is zero
