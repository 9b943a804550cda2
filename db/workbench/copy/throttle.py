"""What the copying of data needs to leave the event loop to others."""

from typing import Protocol


class Throttle(Protocol):
    """Implemented by `ReadThrottle` of a run's owner."""

    @property
    def is_over(self) -> bool:
        """Whether the time in this iteration of the loop is used up."""

    async def yield_to_others(self) -> None:
        """Returns at once while there is time left."""
