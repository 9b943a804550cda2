"""Parquet files as rows of the text format of COPY, read by a process with limited memory."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import msgspec

from db.concurrency.fair_slots import FairSlots
from db.errors import BadInput, Unavailable
from db.kit.base import OwnerId
from db.workbench.child_process import child_process
from db.workbench.copy import parquet_child as child
from db.workbench.results.record_batches import require_arro3

ReadRange: TypeAlias = Callable[[int, int], Awaitable[bytes]]
"""Reads the bytes of a file from a start to an end. Raises a HowdahError if it cannot."""

MEMORY_BYTES = 512 * 1024 * 1024
"""Address space of a process that reads a file, of which the program itself takes a third."""
MAX_READERS = 2
MAX_READERS_PER_USER = 1
NAMES_S = 10.0
MAX_WAIT_S = 10.0
MAX_FRAME_BYTES = 64 * 1024 * 1024


class ParquetReaders:
    """Limits the number of processes. An import waits for its turn, and may then be cancelled."""

    def __init__(self) -> None:
        self._for_names = FairSlots(
            "readings of Parquet files",
            total=MAX_READERS,
            of_one_user=lambda: MAX_READERS_PER_USER,
            wait_s=MAX_WAIT_S,
        )
        self._for_rows = FairSlots(
            "imports of Parquet files",
            total=MAX_READERS,
            of_one_user=lambda: MAX_READERS_PER_USER,
        )

    async def names(self, owner: OwnerId, size: int, read: ReadRange) -> list[str]:
        """The names of the columns.

        Raises:
            BadInput: It is not a Parquet file.
        """
        require_arro3("Parquet")
        with contextlib.suppress(TimeoutError):
            async with (
                self._for_names.of(owner),
                asyncio.timeout(NAMES_S),
                contextlib.aclosing(_frames(size, read, columns=None)) as frames,
            ):
                async for kind, content in frames:
                    if kind == child.NAMES:
                        return msgspec.json.decode(content, type=list[str])
        raise unreadable("its footer could not be read")

    async def rows(
        self, owner: OwnerId, size: int, read: ReadRange, columns: list[str]
    ) -> AsyncGenerator[bytes]:
        """Yields the rows of the columns, whose names are those of the file."""
        require_arro3("Parquet")
        async with (
            self._for_rows.of(owner),
            contextlib.aclosing(_frames(size, read, columns=columns)) as frames,
        ):
            async for kind, content in frames:
                if kind == child.ROWS:
                    yield content
                elif kind == child.END:
                    return
        raise _ended_early()


def unreadable(reason: str) -> BadInput:
    return BadInput(
        f"The file cannot be read as Parquet: {reason}.",
        hint="Check the format of the file, or convert it to CSV or JSON lines.",
        field="fileId",
    )


def _ended_early() -> BadInput:
    most = f"{MEMORY_BYTES // 1024**2} MiB"
    return unreadable(f"its reader ended early, as it does if it needs more than {most} of memory")


async def _frames(
    size: int, read: ReadRange, *, columns: list[str] | None
) -> AsyncGenerator[tuple[bytes, bytes]]:
    """Starts a process, answers its requests for ranges, and yields its other frames."""
    asked = {"size": size, "columns": columns, "memory": MEMORY_BYTES, "path": sys.path}
    content = msgspec.json.encode(asked)
    program = str(Path(child.__file__))
    async with child_process(program, stderr=asyncio.subprocess.DEVNULL) as (_, stdin, stdout):
        try:
            stdin.write(child.SIZE.pack(len(content)) + content)
            async for kind, frame in _read_frames(stdout):
                if kind == child.RANGE:
                    start, length = child.PLACE.unpack(frame)
                    stdin.write(await read(start, start + length))
                    await stdin.drain()
                elif kind == child.FAILED:
                    raise unreadable(frame.decode(errors="replace"))
                else:
                    yield kind, frame
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise _ended_early() from error


async def _read_frames(stream: asyncio.StreamReader) -> AsyncIterator[tuple[bytes, bytes]]:
    while header := await stream.read(child.HEADER.size):
        if len(header) < child.HEADER.size:
            header += await stream.readexactly(child.HEADER.size - len(header))
        kind, size = child.HEADER.unpack(header)
        if size > MAX_FRAME_BYTES:
            raise Unavailable(
                f"A row of the file has more than {MAX_FRAME_BYTES} bytes.",
                hint="Import the file without its largest column.",
            )
        yield kind, await stream.readexactly(size)
