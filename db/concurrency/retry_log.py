"""The log of background tasks that repeat what failed: one line for each outage."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import ClassVar, NoReturn
from weakref import WeakSet

from db.errors import HowdahError

_EXPECTED = (HowdahError, OSError, TimeoutError)


class RetryLog:
    """Reports the failures of one task, which goes on after each.

    An outage is one warning of all tasks of the process; each retry is logged at the level DEBUG.
    An unexpected error is a bug: it has a traceback, once until the task succeeds.
    """

    _failing: ClassVar["WeakSet[RetryLog]"] = WeakSet()
    """The logs of the tasks that fail at the moment."""

    def __init__(self, log: logging.Logger, task: str) -> None:
        """`task` completes the sentence "cannot ..."."""
        self._log = log
        self._task = task
        self._kind: str | None = None

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt failed."""
        return self._kind is not None

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
        kind = error.code if isinstance(error, HowdahError) else type(error).__name__
        # The type alone for others: the message of a driver may quote a URL.
        reason = error.message if isinstance(error, HowdahError) else kind
        is_known = any(other._kind == kind for other in self._failing)  # noqa: SLF001 - of this class
        if not isinstance(error, _EXPECTED) and kind != self._kind:
            self._log.error("cannot %s, will retry", self._task, exc_info=error)
        else:
            level = logging.DEBUG if is_known else logging.WARNING
            self._log.log(level, "cannot %s, will retry: %s", self._task, reason)
        self._kind = kind
        self._failing.add(self)

    def succeeded(self) -> None:
        if self._kind is not None:
            self._log.info("can %s again", self._task)
            self._kind = None
            self._failing.discard(self)
