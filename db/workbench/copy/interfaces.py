"""Interfaces that callers of COPY implement: the data, and the throttle."""

from collections.abc import AsyncGenerator
from typing import Protocol, TypeAlias

CopySource: TypeAlias = AsyncGenerator[bytes]
"""The data of COPY ... FROM STDIN in the format of the statement, in pieces of any size.

If it raises a HowdahError, nothing is loaded, and the run fails with its message.
"""


class Throttle(Protocol):
    """Leaves the event loop to others. Implemented by `ReadThrottle` of a run's owner."""

    @property
    def is_over(self) -> bool:
        """Whether the time in this iteration of the loop is used up."""

    async def yield_to_others(self) -> None:
        """Returns at once while there is time left."""
