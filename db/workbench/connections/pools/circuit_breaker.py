"""A circuit breaker: spares a server that does not answer, and the callers that would wait."""

import asyncio
import contextlib
from collections.abc import Iterator

from db.errors import HowdahError, Overloaded
from db.workbench.connections.connection_errors import Unreachable

FAILURES = 3
OPEN_S = 15.0


class Breaker:
    """After three failures in a row the next fail at once for 15 s; then one probe decides."""

    def __init__(self) -> None:
        self._failures = 0
        self._open_until = 0.0
        self._last: Unreachable | None = None

    @property
    def is_open(self) -> bool:
        is_failing = self._failures >= FAILURES
        return is_failing and asyncio.get_running_loop().time() < self._open_until

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Counts the result of one attempt to connect. An answer is a success, also a refusal.

        Raises:
            Unreachable: the breaker is open; the message is that of the last failure.
        """
        self._check()
        open_until = self._open_until
        try:
            yield
        except Unreachable as error:
            self._failures += 1
            self._last = error
            self._open_until = asyncio.get_running_loop().time() + OPEN_S
            raise
        except BaseException as error:
            if isinstance(error, HowdahError) and not isinstance(error, Overloaded):
                self._failures = 0
            elif self._open_until == open_until:  # without a result: the next caller may probe
                self._open_until = 0.0
            raise
        self._failures = 0

    def _check(self) -> None:
        if self._failures < FAILURES or self._last is None:
            return
        now = asyncio.get_running_loop().time()
        if now < self._open_until:
            raise Unreachable(
                self._last.message,
                hint=f"Wait a few seconds: the last {FAILURES} attempts failed. " + self._last.hint,
                field=self._last.field,
                retry_after_s=round(self._open_until - now, 1),
            )
        self._open_until = now + OPEN_S  # callers fail at once while this one probes
