"""`Spool`, which stores the rows of an executing run."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from db.objects.store import ObjectStore
from db.runs import InlineRows, PageRow

PAGE_BYTES = 4 * 1024 * 1024
INLINE_BYTES = 32 * 1024
"""A result of at most this size is kept with its run: storing an object takes longer than that."""
ABANDON_S = 0.3
FLUSH_S = 0.3
"""Seconds after which arrived rows and their columns become readable at the latest."""

Flushed = Callable[[PageRow], Awaitable[None]]


class Chunk(NamedTuple):
    """Consecutive rows, encoded as JSON lines."""

    lines: bytes
    rows: int


def page_key(folder: str, number: int) -> str:
    return f"{folder}/{number:06}"


class Spool:
    """Collects chunks of rows into pages; fills one page while the previous one is written."""

    def __init__(self, objects: ObjectStore, folder: str, flushed: Flushed) -> None:
        """`flushed` is awaited after each page is stored."""
        self._objects = objects
        self._folder = folder
        self._flushed = flushed
        self._page = _Page(number=0, first_row=0)
        self._ready = asyncio.Event()
        """Set when the page is full, FLUSH_S old, or the last."""
        self._taken = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._closing = False

    async def add(self, chunk: Chunk) -> None:
        """Waits while the store is slower than the rows; raises the error of the store."""
        if not self._page.row_count:
            self._page.flush_timer = asyncio.get_running_loop().call_later(FLUSH_S, self._flush_now)
        self._page.add(chunk)
        if self._page.size >= PAGE_BYTES or (self._writing and self._writing.done()):
            await self._wait_until_taken(self._flush_now())

    def take_inline(self) -> InlineRows | None:
        """Takes all rows, if they are few and none is in a page yet. Call it after the last row."""
        page = self._page
        if self._writing is not None or not page.row_count or page.size > INLINE_BYTES:
            return None
        page.cancel_flush()
        self._page = page.next_page()
        return InlineRows(b"".join(page.lines), page.row_count)

    async def close(self) -> None:
        """Stores the remaining rows; all rows are readable after it."""
        if self._writing is not None or self._page.row_count:
            self._closing = True
            await self._flush_now()

    async def abandon(self) -> None:
        """Stores nothing more; waits ABANDON_S at most for a store that hangs."""
        self._page.cancel_flush()
        if self._writing is not None:
            self._writing.cancel()
            done, _ = await asyncio.wait({self._writing}, timeout=ABANDON_S)
            await asyncio.gather(*done, return_exceptions=True)
            if done:
                self._writing = None  # its traceback refers to the page that it was storing
        # The run and its spool refer to each other: megabytes would wait for a garbage collection.
        self._page = self._page.next_page()

    def _flush_now(self) -> "asyncio.Task[None]":
        """Wakes the task that stores pages, which the first page starts."""
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="runs: spool")
        self._ready.set()
        return self._writing

    async def _wait_until_taken(self, writing: "asyncio.Task[None]") -> None:
        self._taken.clear()
        taken = asyncio.ensure_future(self._taken.wait())
        try:
            await asyncio.wait({taken, writing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            taken.cancel()
        if writing.done():
            writing.result()

    async def _write(self) -> None:
        while self._page.row_count or not self._closing:
            await self._ready.wait()
            self._ready.clear()
            page, self._page = self._page, self._page.next_page()
            self._taken.set()
            page.cancel_flush()
            if page.row_count:
                await self._flush(page)

    async def _flush(self, page: "_Page") -> None:
        await self._objects.put_bytes(page_key(self._folder, page.number), b"".join(page.lines))
        await self._flushed(page.row)


class _Page:
    def __init__(self, *, number: int, first_row: int) -> None:
        self.number = number
        self.first_row = first_row
        self.row_count = 0
        self.size = 0
        self.lines: list[bytes] = []
        self.flush_timer: asyncio.TimerHandle | None = None
        """Fires FLUSH_S after the first chunk."""
        self._marks: list[int] = []

    def add(self, chunk: Chunk) -> None:
        self.lines.append(chunk.lines)
        self.row_count += chunk.rows
        self.size += len(chunk.lines)
        self._marks += (self.row_count, self.size)

    def cancel_flush(self) -> None:
        if self.flush_timer is not None:
            self.flush_timer.cancel()

    def next_page(self) -> "_Page":
        return _Page(number=self.number + 1, first_row=self.first_row + self.row_count)

    @property
    def row(self) -> PageRow:
        marks = msgspec.json.encode(self._marks).decode()
        return PageRow(self.number, self.first_row, self.row_count, self.size, marks)
