"""The rows of a result, kept in the object store as lines of JSON, read from any row on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from db.errors import NotFound
from db.kit.base import OwnerId
from db.objects.store import ObjectStore
from db.postgres.engine import Database
from db.runs import PageRow, Pages

RESULTS = "runs"
PAGE_BYTES = 4 * 1024 * 1024
ABANDON_S = 0.3
FLUSH_S = 0.3
"""Rows are readable, and their columns known, so soon after they came."""

Flushed = Callable[[PageRow], Awaitable[None]]


class Chunk(NamedTuple):
    """Some rows as lines of JSON."""

    lines: bytes
    rows: int


def folder_of(owner: OwnerId, run_id: UUID) -> str:
    return f"{RESULTS}/{owner.hex}/{run_id.hex}"


class Spool:
    """Takes chunks of rows and writes them as pages: one fills while another is written."""

    def __init__(self, objects: ObjectStore, folder: str, flushed: Flushed) -> None:
        """`flushed` is told of each page once it can be read."""
        self._objects = objects
        self._folder = folder
        self._flushed = flushed
        self._page = _Page(number=0, first_row=0)
        self._ready = asyncio.Event()
        """The page is full, or its time has come, or it is the last."""
        self._taken = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._closing = False

    async def add(self, chunk: Chunk) -> None:
        """Waits while the store is slower than the rows; raises what it has raised."""
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="runs: spool")
        if not self._page.row_count:
            self._page.due = asyncio.get_running_loop().call_later(FLUSH_S, self._ready.set)
        self._page.add(chunk)
        if self._page.size >= PAGE_BYTES or self._writing.done():
            self._ready.set()
            await self._until_taken(self._writing)

    async def close(self) -> None:
        """Writes what is left; all that was added can be read after it."""
        if self._writing is not None:
            self._closing = True
            self._ready.set()
            await self._writing

    async def abandon(self) -> None:
        """Writes nothing more, and does not wait for a store that hangs."""
        if self._writing is not None:
            self._page.due_no_more()
            self._writing.cancel()
            done, _ = await asyncio.wait({self._writing}, timeout=ABANDON_S)
            await asyncio.gather(*done, return_exceptions=True)

    async def _until_taken(self, writing: "asyncio.Task[None]") -> None:
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
            page, self._page = self._page, self._page.following()
            self._taken.set()
            page.due_no_more()
            if page.row_count:
                await self._flush(page)

    async def _flush(self, page: "_Page") -> None:
        key = f"{self._folder}/{page.number:06}"
        await self._objects.put(key, _once(b"".join(page.lines)), size=page.size)
        await self._flushed(page.row)


class _Page:
    """A page that is being filled."""

    def __init__(self, *, number: int, first_row: int) -> None:
        self.number = number
        self.first_row = first_row
        self.row_count = 0
        self.size = 0
        self.lines: list[bytes] = []
        self.due: asyncio.TimerHandle | None = None
        """Rings when it is to be written at the latest."""
        self._marks: list[int] = []

    def add(self, chunk: Chunk) -> None:
        self.lines.append(chunk.lines)
        self.row_count += chunk.rows
        self.size += len(chunk.lines)
        self._marks += (self.row_count, self.size)

    def due_no_more(self) -> None:
        if self.due is not None:
            self.due.cancel()

    def following(self) -> "_Page":
        return _Page(number=self.number + 1, first_row=self.first_row + self.row_count)

    @property
    def row(self) -> PageRow:
        marks = msgspec.json.encode(self._marks).decode()
        return PageRow(self.number, self.first_row, self.row_count, self.size, marks)


class Results:
    """Reads what spools have written, for its owner, from any replica."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects

    async def rows(
        self, owner: OwnerId, run_id: UUID, *, offset: int, first: int, most_bytes: int
    ) -> list[bytes]:
        """At most `first` rows from `offset` on, each a list in JSON; one, however large it is."""
        found: list[bytes] = []
        left = most_bytes
        for page in await self._pages(owner, run_id, offset, offset + first):
            for line in await self._lines(owner, run_id, page, offset, offset + first):
                left -= len(line)
                if left < 0 and found:
                    return found
                found.append(line)
        return found

    async def lines(self, owner: OwnerId, run_id: UUID) -> AsyncIterator[list[bytes]]:
        """All rows, a page of them at a time."""
        start = 0
        while pages := await self._pages(owner, run_id, start, start + 1):
            for page in pages:
                end = page.first_row + page.row_count
                yield await self._lines(owner, run_id, page, start, end)
                start = end

    async def heaviest_row(self, owner: OwnerId, run_id: UUID) -> int:
        """How many bytes a row has on average, in the page where that is most."""
        async with self._database.read() as session:
            return await Pages(session, owner).heaviest(run_id)

    async def remove(self, owner: OwnerId, run_id: UUID) -> None:
        """First the bytes, then what names them."""
        async for batch in self._objects.list(folder_of(owner, run_id)):
            await self._objects.delete([stored.key for stored in batch])
        await self._database.write(lambda session: Pages(session, owner).drop(run_id))

    async def _pages(self, owner: OwnerId, run_id: UUID, start: int, end: int) -> Sequence[PageRow]:
        async with self._database.read() as session:
            return await Pages(session, owner).between(run_id, start, end)

    async def _lines(
        self, owner: OwnerId, run_id: UUID, page: PageRow, start: int, end: int
    ) -> list[bytes]:
        """Those lines of the page from the row `start` until before the row `end`."""
        low, high = start - page.first_row, end - page.first_row
        first_row, first_byte, last_byte = 0, 0, page.size
        for rows, size in page.ends:
            if rows <= low:
                first_row, first_byte = rows, size
            elif rows >= high:
                last_byte = size
                break
        key = f"{folder_of(owner, run_id)}/{page.number:06}"
        lines = (await self._read(key, start=first_byte, end=last_byte)).splitlines()
        return lines[max(low - first_row, 0) : high - first_row]

    async def _read(self, key: str, *, start: int, end: int) -> bytes:
        pieces = self._objects.read(key, start=start, end=end)
        try:
            async with contextlib.aclosing(pieces):  # type: ignore[type-var]  # an async generator by its body
                return b"".join([piece async for piece in pieces])
        except NotFound as error:
            raise NotFound(
                "The rows of this result are no longer in the store.",
                hint="Run the statement again; a restored server may be without old results.",
            ) from error


async def _once(whole: bytes) -> AsyncIterator[bytes]:
    """In one piece: each takes a way through the store's threads."""
    yield whole
