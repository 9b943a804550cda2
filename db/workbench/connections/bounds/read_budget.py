"""Bounds what libpq buffers of rows that have not arrived completely.

libpq holds a whole message in memory before any of it can be seen, and PostgreSQL sends a row as
one message of up to 1 GB. What one connection may buffer is limited by `row_bytes`; above
`FREE_BYTES` it also needs one of the few slots of the process, of which a user has at most one.
"""

import asyncio
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Self
from weakref import WeakValueDictionary

import psycopg

from db.workbench.connections.bounds.read_turns import ReadTurns

MIB = 1024 * 1024
FREE_BYTES = MIB
"""A connection buffers as much without a slot."""
ROW_BYTES = 32 * MIB
PROCESS_BYTES = 64 * MIB
VALUE_BYTES = 64
"""What a row and each of its values take besides their texts."""
SLOT_S = 30.0
"""A row must arrive within this time of getting its slot, so that a slow server frees it again."""


class RowTooLarge(psycopg.OperationalError):
    """The connection was closed because a row, or rows read together, exceeded the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} bytes arrived before a row was complete")
        self.limit = limit


class TooManySettings(psycopg.OperationalError):
    """The server reported so many settings that each further one delays the event loop."""


class UnexpectedRows(psycopg.DataError):
    """The server returned rows that are not those of PostgreSQL, or a value that has no meaning."""

    def __init__(self) -> None:
        super().__init__("the server returned rows that are not those of PostgreSQL")


def size_of_rows(rows: Iterable[Sequence[Any]]) -> int:
    """Roughly what rows of texts, numbers and lists of them take in memory.

    Raises:
        UnexpectedRows: A value has another type, which no query of ours selects.
    """
    return sum(map(_size_of, rows))


def _size_of(value: Any) -> int:
    match value:
        case str() | bytes():
            return VALUE_BYTES + len(value)
        case None | int() | float():
            return VALUE_BYTES
        case tuple() | list():
            return VALUE_BYTES + sum(map(_size_of, value))
        case _:
            raise UnexpectedRows


class ReadBudget:
    """The slots of one process for rows larger than `FREE_BYTES`."""

    def __init__(self, row_bytes: int = ROW_BYTES, process_bytes: int = PROCESS_BYTES) -> None:
        self.row_bytes = row_bytes
        self._slots = asyncio.Semaphore(max(1, process_bytes // row_bytes))
        self._turns = ReadTurns()
        self._users: WeakValueDictionary[Hashable, _UserLock] = WeakValueDictionary()

    def slot_for(self, user: Hashable) -> "LargeRowSlot":
        """A slot for one connection of the user, not yet acquired."""
        lock = self._users.setdefault(user, _UserLock())
        return LargeRowSlot(self.row_bytes, lock, self._slots, self._turns)


class _UserLock(asyncio.Lock):
    """A lock that can be weakly referenced by its user."""


class LargeRowSlot:
    """The right of one connection to buffer up to `row_bytes`."""

    def __init__(
        self, row_bytes: int, lock: asyncio.Lock, slots: asyncio.Semaphore, turns: ReadTurns
    ) -> None:
        self.row_bytes = row_bytes
        self.turns = turns
        self.is_held = False
        self._lock = lock
        self._slots = slots

    @classmethod
    def alone(cls) -> Self:
        """A slot that is shared with no other connection."""
        return cls(ROW_BYTES, asyncio.Lock(), asyncio.Semaphore(1), ReadTurns())

    async def acquire(self) -> None:
        await self._lock.acquire()
        try:
            await self._slots.acquire()
        except BaseException:
            self._lock.release()
            raise
        self.is_held = True

    def release(self) -> None:
        if self.is_held:
            self.is_held = False
            self._slots.release()
            self._lock.release()
