"""The log of background tasks that repeat what failed: one line for each outage."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import ClassVar, NoReturn
from weakref import WeakSet

from db.errors import HowdahError

OUTAGE_BEGINS_S = 60.0
"""Tasks notice an outage within this time. Their messages may differ: dropped, then refused."""
_EXPECTED = (HowdahError, OSError, TimeoutError)


class RetryLog:
    """Reports the failures of one task, which goes on after each.

    An outage is one warning of all tasks of the process; each retry is logged at the level DEBUG.
    Failures with one code, or one message, are one outage if they begin together. A task that
    never succeeds, such as a sweep of an object that cannot be read, hides no other outage.
    An unexpected error is a bug: it has a traceback, once until the task succeeds.
    """

    _failing: ClassVar["WeakSet[RetryLog]"] = WeakSet()
    """The logs of the tasks that fail at the moment."""

    def __init__(self, log: logging.Logger, task: str) -> None:
        """`task` completes the sentence "cannot ..."."""
        self._log = log
        self._task = task
        self._code = ""
        self._reason: str | None = None
        self._failing_since = 0.0

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt failed."""
        return self._reason is not None

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Reports and suppresses the error of the block."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - any error: the next attempt may succeed
            self.failed(error)
        else:
            self.succeeded()

    async def repeat(self, work: Callable[[], Awaitable[object]], *, every_s: float) -> NoReturn:
        """Calls `work` after each pause."""
        while True:
            await asyncio.sleep(every_s)
            with self.attempt():
                await work()

    def failed(self, error: Exception) -> None:
        code = error.code if isinstance(error, HowdahError) else type(error).__name__
        # The type alone for others: the message of a driver may quote a URL.
        reason = error.message if isinstance(error, HowdahError) else code
        is_repeated = code == self._code
        is_known = is_repeated or any(other.explains(code, reason) for other in self._failing)
        if not isinstance(error, _EXPECTED) and not is_repeated:
            self._log.error("cannot %s, will retry", self._task, exc_info=error)
        else:
            level = logging.DEBUG if is_known else logging.WARNING
            self._log.log(level, "cannot %s, will retry: %s", self._task, reason)
        if self._reason is None:
            self._failing_since = time.monotonic()
        self._code, self._reason = code, reason
        self._failing.add(self)

    def explains(self, code: str, reason: str) -> bool:
        """Whether another task that fails now has met the outage that this one has reported."""
        began_now = time.monotonic() - self._failing_since < OUTAGE_BEGINS_S
        return self._reason == reason or (self._code == code and began_now)

    def succeeded(self) -> None:
        if self._reason is not None:
            self._log.info("can %s again", self._task)
            self._code, self._reason = "", None
            self._failing.discard(self)
