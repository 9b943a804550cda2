"""Stores result rows as JSON lines, with random access by row number.

The rows of a small result are kept with their run, larger results as pages in the object store.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from db.errors import NotFound
from db.kit.base import OwnerId
from db.objects.store import ObjectStore
from db.postgres.engine import Database
from db.row_scans.row_order import RowPlace
from db.runs import InlineRows, PageRow, ResultPages
from db.workbench.results.spool import INLINE_BYTES, Flushed, Spool, page_key

RESULTS = "runs"
RECENT_RESULTS = 64
"""Small results that a process keeps in memory, for the request that waits for their run."""

SPAN_BYTES = 4 * 1024 * 1024
"""Rows are read in spans of about this size: a page has one more row at most."""
GAP_BYTES = 64 * 1024
"""Rows of a page that are closer to each other are read at once."""
READS_AT_ONCE = 8


class Span(NamedTuple):
    """Consecutive rows of a page, as JSON lines."""

    page: int
    first_row: int
    row_count: int
    offset: int
    lines: bytes


def result_prefix(owner: OwnerId, run_id: UUID) -> str:
    return f"{RESULTS}/{owner.hex}/{run_id.hex}"


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

    async def lines_at(
        self, owner: OwnerId, run_id: UUID, places: Sequence[RowPlace]
    ) -> list[bytes]:
        """The rows at places, in their order."""
        if all(one.page == 0 and one.offset + one.size <= INLINE_BYTES for one in places):
            for page in await self._pages(owner, run_id, 0, 1):
                if (lines := page.lines) is not None:
                    return [lines[one.offset : one.offset + one.size] for one in places]
        turns = asyncio.Semaphore(READS_AT_ONCE)
        found: dict[int, bytes] = {}

        async def read(near: Sequence[RowPlace]) -> None:
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
        try:
            return await self._objects.read_bytes(key, start=start, end=end)
        except NotFound as error:
            raise NotFound(
                "The rows of this result are no longer in the store.",
                hint="Run the statement again: a restored server may not have old results.",
            ) from error


def _page_key(owner: OwnerId, run_id: UUID, number: int) -> str:
    return page_key(result_prefix(owner, run_id), number)


def _span_bounds(page: PageRow) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Rows and bytes where each span begins and ends; its end is that of a chunk."""
    start = (0, 0)
    for end in page.ends or [(page.row_count, page.size)]:
        if end[1] - start[1] >= SPAN_BYTES or end[0] == page.row_count:
            yield start, end
            start = end


def _neighbours(places: Sequence[RowPlace]) -> Iterator[list[RowPlace]]:
    """Groups of places that are read at once."""
    near: list[RowPlace] = []
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
