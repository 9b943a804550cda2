"""Stores result rows as JSON lines, with random access by row number.

The rows of a small result are kept with their run, larger results as pages in the object store.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Sequence,
)
from typing import NamedTuple
from uuid import UUID

import msgspec

from db.errors import NotFound
from db.kit.base import OwnerId
from db.objects.store import ObjectStore
from db.postgres.engine import Database
from db.row_scans.row_order import Place
from db.runs import InlineRows, PageRow, ResultPages

RESULTS = "runs"
PAGE_BYTES = 4 * 1024 * 1024
INLINE_BYTES = 32 * 1024
"""A result of at most this size is kept with its run: storing an object takes longer than that."""
RECENT_RESULTS = 64
"""Small results that a process keeps in memory, for the request that waits for their run."""
ABANDON_S = 0.3
FLUSH_S = 0.3
"""Seconds after which arrived rows and their columns become readable at the latest."""

SPAN_BYTES = 4 * 1024 * 1024
"""Rows are read in spans of about this size: a page has one more row at most."""
GAP_BYTES = 64 * 1024
"""Rows of a page that are closer to each other are read at once."""
READS_AT_ONCE = 8

Flushed = Callable[[PageRow], Awaitable[None]]


class Chunk(NamedTuple):
    """Consecutive rows, encoded as JSON lines."""

    lines: bytes
    rows: int


class Span(NamedTuple):
    """Consecutive rows of a page, as JSON lines."""

    page: int
    first_row: int
    row_count: int
    offset: int
    lines: bytes


def result_prefix(owner: OwnerId, run_id: UUID) -> str:
    return f"{RESULTS}/{owner.hex}/{run_id.hex}"


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
        key = f"{self._folder}/{page.number:06}"
        await self._objects.put(key, _single_piece(b"".join(page.lines)), size=page.size)
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


class ResultStore:
    """Stores, reads and deletes results; works on any replica."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects
        self._recent: OrderedDict[tuple[OwnerId, UUID], PageRow] = OrderedDict()

    def keep_recent(self, owner: OwnerId, run_id: UUID, rows: InlineRows) -> None:
        """Keeps the whole result of a run that has just ended, because it is often read now."""
        size = len(rows.lines)
        self._recent[owner, run_id] = PageRow(0, 0, rows.row_count, size, "[]", rows.lines)
        if len(self._recent) > RECENT_RESULTS:
            self._recent.popitem(last=False)

    def spool(self, owner: OwnerId, run_id: UUID, flushed: Flushed) -> Spool:
        """Stores the rows of an executing run; awaits `flushed` after each page."""
        return Spool(self._objects, result_prefix(owner, run_id), flushed)

    async def rows(
        self, owner: OwnerId, run_id: UUID, *, offset: int, first: int, max_bytes: int
    ) -> list[bytes]:
        """At most `first` rows from `offset`, each a JSON array.

        Stops before `max_bytes`, but returns at least one row if there is one.
        """
        found: list[bytes] = []
        left = max_bytes
        for page in await self._pages(owner, run_id, offset, offset + first):
            for line in await self._lines(owner, run_id, page, offset, offset + first):
                left -= len(line)
                if left < 0 and found:
                    return found
                found.append(line)
        return found

    async def lines(self, owner: OwnerId, run_id: UUID) -> AsyncIterator[list[bytes]]:
        """Yields all rows, one page at a time."""
        start = 0
        while pages := await self._pages(owner, run_id, start, start + 1):
            for page in pages:
                end = page.first_row + page.row_count
                yield await self._lines(owner, run_id, page, start, end)
                start = end

    async def spans(
        self, owner: OwnerId, run_id: UUID, start: int, end: int
    ) -> AsyncGenerator[Span]:
        """Yields the rows from `start` to before `end`, with others before and after them."""
        for page in await self._pages(owner, run_id, start, end):
            low, high = start - page.first_row, end - page.first_row
            for (first_row, first_byte), (last_row, last_byte) in _span_bounds(page):
                if last_row <= low or first_row >= high:
                    continue
                lines = page.lines
                if lines is None:
                    key = _page_key(owner, run_id, page.number)
                    lines = await self._read(key, start=first_byte, end=last_byte)
                row = page.first_row + first_row
                yield Span(page.number, row, last_row - first_row, first_byte, lines)

    async def lines_at(self, owner: OwnerId, run_id: UUID, places: Sequence[Place]) -> list[bytes]:
        """The rows at places, in their order."""
        if all(one.page == 0 and one.offset + one.size <= INLINE_BYTES for one in places):
            for page in await self._pages(owner, run_id, 0, 1):
                if (lines := page.lines) is not None:
                    return [lines[one.offset : one.offset + one.size] for one in places]
        turns = asyncio.Semaphore(READS_AT_ONCE)
        found: dict[int, bytes] = {}

        async def read(near: Sequence[Place]) -> None:
            start, end = near[0].offset, near[-1].offset + near[-1].size
            async with turns:
                key = _page_key(owner, run_id, near[0].page)
                block = await self._read(key, start=start, end=end)
            for one in near:
                at = one.offset - start
                found[one.position] = block[at : at + one.size]

        await asyncio.gather(*map(read, _neighbours(places)))
        return [found[place.position] for place in places]

    async def max_average_row_bytes(self, owner: OwnerId, run_id: UUID) -> int:
        """The largest average row size of a page."""
        async with self._database.read() as session:
            return await ResultPages(session, owner).max_average_row_bytes(run_id)

    async def remove(self, owner: OwnerId, run_id: UUID) -> None:
        """Deletes the pages, objects first: the rows of the pages are the only record of them."""
        self._recent.pop((owner, run_id), None)
        async for batch in self._objects.list(result_prefix(owner, run_id)):
            await self._objects.delete([stored.key for stored in batch])
        await self._database.write(lambda session: ResultPages(session, owner).delete_all(run_id))

    async def _pages(self, owner: OwnerId, run_id: UUID, start: int, end: int) -> Sequence[PageRow]:
        if (recent := self._recent.get((owner, run_id))) is not None:
            return [recent] if start < recent.row_count else []
        async with self._database.read() as session:
            return await ResultPages(session, owner).list_overlapping(run_id, start, end)

    async def _lines(
        self, owner: OwnerId, run_id: UUID, page: PageRow, start: int, end: int
    ) -> list[bytes]:
        """The rows of the page in the range from `start` to before `end`."""
        if page.lines is not None:
            return page.lines.splitlines()[start:end]
        low, high = start - page.first_row, end - page.first_row
        first_row, first_byte, last_byte = 0, 0, page.size
        for rows, size in page.ends:
            if rows <= low:
                first_row, first_byte = rows, size
            elif rows >= high:
                last_byte = size
                break
        key = _page_key(owner, run_id, page.number)
        lines = (await self._read(key, start=first_byte, end=last_byte)).splitlines()
        return lines[max(low - first_row, 0) : high - first_row]

    async def _read(self, key: str, *, start: int, end: int) -> bytes:
        pieces = self._objects.read(key, start=start, end=end)
        try:
            async with contextlib.aclosing(pieces):
                return b"".join([piece async for piece in pieces])
        except NotFound as error:
            raise NotFound(
                "The rows of this result are no longer in the store.",
                hint="Run the statement again: a restored server may not have old results.",
            ) from error


def _page_key(owner: OwnerId, run_id: UUID, number: int) -> str:
    return f"{result_prefix(owner, run_id)}/{number:06}"


def _span_bounds(page: PageRow) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Rows and bytes where each span begins and ends; its end is that of a chunk."""
    start = (0, 0)
    for end in page.ends or [(page.row_count, page.size)]:
        if end[1] - start[1] >= SPAN_BYTES or end[0] == page.row_count:
            yield start, end
            start = end


def _neighbours(places: Sequence[Place]) -> Iterator[list[Place]]:
    """Groups of places that are read at once."""
    near: list[Place] = []
    for place in sorted(places, key=lambda one: (one.page, one.offset)):
        if near:
            first, last = near[0], near[-1]
            end = place.offset + place.size
            is_near = place.offset - last.offset - last.size <= GAP_BYTES
            if place.page != last.page or not is_near or end - first.offset > SPAN_BYTES:
                yield near
                near = []
        near.append(place)
    if near:
        yield near


async def _single_piece(whole: bytes) -> AsyncIterator[bytes]:
    """Yields the page as one piece: each piece costs a switch to a store thread."""
    yield whole
