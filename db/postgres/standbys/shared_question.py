"""A question that concurrent callers share."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class SharedQuestion(Generic[Answer]):
    """Asks once for all callers that wait. Each answer is newer than the calls that get it.

    A question that is under way is too old for a new caller: it gets the answer of the next one.
    """

    def __init__(self, ask: Callable[[], Awaitable[Answer]]) -> None:
        self._ask = ask
        self._next: asyncio.Future[Answer] | None = None
        self._task: asyncio.Task[None] | None = None

    def answer(self) -> Awaitable[Answer]:
        """The answer, or the error of the question; await it at once."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        if self._task is None:  # of no caller: its statement is not one of an operation
            self._task = asyncio.create_task(self._run(), context=Context())
        return asyncio.shield(self._next)

    async def _run(self) -> None:
        try:
            while (asked := self._next) is not None:
                self._next = None
                try:
                    answer = await self._ask()
                except Exception as error:  # noqa: BLE001 - the callers receive it
                    asked.set_exception(error)
                    asked.exception()  # the callers may be gone
                except asyncio.CancelledError:
                    asked.cancel()
                    raise
                else:
                    asked.set_result(answer)
        finally:
            self._task = None
            waiting, self._next = self._next, None
            if waiting is not None:
                waiting.cancel()
