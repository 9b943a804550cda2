"""Reports the statements that were sent to Howdah's own database, for traces (decision 0062).

Without an observer the connections are those of asyncpg itself, so that a statement costs no more.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, ContextVar
from typing import Any, NamedTuple, TypeAlias, TypeVar

import asyncpg

T = TypeVar("T")


class SentStatement(NamedTuple):
    """A statement without its values, the nanoseconds of the clock, and how it ended."""

    sql: str
    began_ns: int
    ended_ns: int
    error: str | None
    """The SQLSTATE, or the class of another error; None if it succeeded."""


Observer: TypeAlias = Callable[[SentStatement], None]

observers: list[Observer] = []
"""Called in the context of the caller after each statement of connections opened from now on."""

callers: ContextVar[Sequence[Context]] = ContextVar("callers", default=())
"""The contexts of the callers whom the statement answers, if they are not the running task.

None of them is that of a task: `Context.run` fails in a context that is entered already."""


def connection_class() -> type[asyncpg.Connection]:
    """The class of new connections."""
    return _ReportingConnection if observers else asyncpg.Connection


class _ReportingConnection(asyncpg.Connection):
    """Reports the statements that the engine sends; it uses these two methods."""

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        return await _reporting(query, super().fetch(query, *args, **options))

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        return await _reporting(query, super().execute(query, *args, **options))


async def _reporting(sql: str, work: Awaitable[T]) -> T:
    began_ns, failure = time.time_ns(), None
    try:
        return await work
    except BaseException as error:
        failure = getattr(error, "sqlstate", None) or type(error).__name__
        raise
    finally:
        sent = SentStatement(sql, began_ns, time.time_ns(), failure)
        for observe in observers:
            observe(sent)
