"""Spares a target that does not answer, and those who would wait for it."""

import asyncio

from db.workbench.connections.connection_errors import Unreachable

FAILURES = 3
OPEN_S = 15.0


class Breaker:
    """After three failures in a row the next fail at once for 15 s; then one probe decides."""

    def __init__(self) -> None:
        self._failures = 0
        self._closed_at = 0.0
        self._last: Unreachable | None = None

    def check(self) -> None:
        """Raise what went wrong last, while nobody is to try again."""
        if self._failures < FAILURES or self._last is None:
            return
        now = asyncio.get_running_loop().time()
        if now < self._closed_at:
            raise Unreachable(
                self._last.message,
                hint=f"It failed {FAILURES} times and is left alone for a moment. "
                + self._last.hint,
                field=self._last.field,
                retry_after_s=round(self._closed_at - now, 1),
            )
        self._closed_at = now + OPEN_S  # whoever comes while this one probes fails at once

    def failed(self, error: Unreachable) -> None:
        self._failures += 1
        self._last = error
        self._closed_at = asyncio.get_running_loop().time() + OPEN_S

    def succeeded(self) -> None:
        """Whoever answers at all, even to refuse, is there."""
        self._failures = 0
