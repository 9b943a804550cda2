"""Commits changes of concurrent callers together."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import text

from db.concurrency.waiting import TaskSet
from db.errors import (
    BadInput,
    Conflict,
    Forbidden,
    NotFound,
    Overloaded,
    RateLimited,
    TimedOut,
    TooLarge,
)
from db.postgres.engine import Database
from db.postgres.route.connect import Dropped
from db.postgres.route.sent_statements import callers
from db.postgres.sessions import Session
from db.postgres.statements import compile_statement

LARGEST_GROUP = 64
LOCK_WAIT_MS = 200
"""A group waits this long for a lock; then each of its items waits in its own transaction."""
PATIENCE_S = 0.25
"""A transaction that takes longer, for example because it waits for a lock, delays no other one."""

_SHORT_LOCK_WAIT = compile_statement(
    text(f"SELECT set_config('lock_timeout', '{LOCK_WAIT_MS}', true)")
)
_REFUSALS = (BadInput, Conflict, Forbidden, NotFound, RateLimited, TooLarge)

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Call(asyncio.Future[Any], Generic[Item]):
    """An item that waits for its answer."""

    def __init__(self, item: Item, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.item = item
        self.context = copy_context()


class GroupCommit(Generic[Item, Answer]):
    """Runs `write` for each item in a transaction: alone, or with the items that wait.

    An item is written at once while no transaction is under way. The items that arrive during one
    share the next transaction. Each has its own answer or refusal. If the
    transaction fails, nothing was changed, and each item is written alone. After a lost connection
    or a timeout every item gets that error, because the commit may have happened.
    """

    def __init__(
        self,
        database: Database,
        write: Callable[[Session, Item], Awaitable[Answer]],
        *,
        order: Callable[[Item], Any],
    ) -> None:
        """`write` refuses an item before its first change. `order` is that of its locks."""
        self._database = database
        self._write = write
        self._order = order
        self._waiting: deque[_Call[Item]] = deque()
        self._under_way = 0
        self._tasks = TaskSet()

    async def add(self, item: Item) -> Answer:
        """Returns the answer after the commit."""
        if not self._under_way:
            end = self._begin()
            try:
                return await self._write_alone(item)
            finally:
                end()
        call = _Call(item, loop=asyncio.get_running_loop())
        self._waiting.append(call)
        return cast("Answer", await call)

    def _begin(self) -> Callable[[], None]:
        """Counts a transaction until the returned function is called, or for PATIENCE_S."""
        ended = False

        def end() -> None:
            nonlocal ended
            if not ended:
                ended = True
                timer.cancel()
                self._under_way -= 1
                self._send_waiting()

        self._under_way += 1
        timer = asyncio.get_running_loop().call_later(PATIENCE_S, end)
        return end

    def _send_waiting(self) -> None:
        group: list[_Call[Item]] = []
        while self._waiting and not self._under_way and len(group) < LARGEST_GROUP:
            call = self._waiting.popleft()
            if not call.done():  # else its caller was cancelled
                group.append(call)
        if not group:
            return
        end = self._begin()
        context = group[0].context.copy()
        task = self._tasks.start(self._run(group), name="group commit", context=context)

        def settle(_: object) -> None:
            for call in group:
                call.cancel()  # has no effect, unless the task was cancelled
            end()

        task.add_done_callback(settle)

    async def _run(self, group: list[_Call[Item]]) -> None:
        if len(group) == 1:
            await self._settle_alone(group[0])
            return
        group.sort(key=lambda call: self._order(call.item))
        try:
            answers = await self._database.transaction(
                lambda session: self._write_all(session, group)
            )
        except (Dropped, Overloaded, TimedOut) as error:
            for call in group:
                _fail(call, error)
        except Exception:  # noqa: BLE001 - caused by one of them: nothing was changed
            await asyncio.gather(*map(self._settle_alone, group))
        else:
            for call, answer in zip(group, answers, strict=True):
                if isinstance(answer, Exception):
                    _fail(call, answer)
                elif not call.done():
                    call.set_result(answer)

    async def _write_all(
        self, session: Session, group: Sequence[_Call[Item]]
    ) -> list[Answer | Exception]:
        await session.rows(_SHORT_LOCK_WAIT)
        answers: list[Answer | Exception] = []
        for call in group:
            answered = callers.set((call.context,))
            try:
                answers.append(await self._write(session, call.item))
            except _REFUSALS as error:
                answers.append(error)
            finally:
                callers.reset(answered)
        return answers

    async def _write_alone(self, item: Item) -> Answer:
        return await self._database.transaction(lambda session: self._write(session, item))

    async def _settle_alone(self, call: _Call[Item]) -> None:
        callers.set((call.context,))
        try:
            answer = await self._write_alone(call.item)
        except Exception as error:  # noqa: BLE001 - its caller receives it
            _fail(call, error)
        else:
            if not call.done():
                call.set_result(answer)


def _fail(call: "_Call[Any]", error: Exception) -> None:
    if not call.done():
        call.set_exception(error)
