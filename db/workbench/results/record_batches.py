"""Encodes results with arro3, in a thread that the event loop feeds.

Needs the extra `parquet`. Memory use does not depend on the size of the result.
"""

import asyncio
import concurrent.futures
import contextlib
import importlib.util
import math
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from io import UnsupportedOperation
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar, cast

import msgspec

from db.errors import BadInput, Unavailable
from db.row_scans.type_oids import BOOL, FLOAT4, FLOAT8, INT2, INT4

if TYPE_CHECKING:
    from arro3.core import DataType, RecordBatch, RecordBatchReader, Schema

T = TypeVar("T")

Write: TypeAlias = Callable[["RecordBatchReader", Any], None]
"""Writes all batches to a file object."""

BATCH_CELLS = 50_000
PIECE_BYTES = 256 * 1024

_decode = msgspec.json.Decoder(list[Any]).decode


def require_arro3(format: str) -> None:
    """Raises Unavailable, which names the format, if the extra `parquet` is not installed."""
    try:
        found = importlib.util.find_spec("arro3.core") and importlib.util.find_spec("arro3.io")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise Unavailable(
            f"{format} is not available on this server: arro3 is not installed.",
            hint="Use CSV or JSONL, or ask the operator to run: pip install 'howdah[parquet]'.",
        )


async def encode(
    write: Write, names: Sequence[str], oids: Sequence[int], batches: AsyncIterator[list[bytes]]
) -> AsyncGenerator[bytes]:
    """Yields the file in pieces. `oids` are the PostgreSQL types of the columns."""
    bridge = _Bridge(batches)
    thread = concurrent.futures.ThreadPoolExecutor(1, "parquet")
    writing = asyncio.get_running_loop().run_in_executor(
        thread, _write_all, write, names, oids, bridge
    )
    try:
        while (piece := await bridge.take()) is not None:
            yield piece
        await writing
    finally:
        bridge.close()
        await asyncio.wait({writing})
        thread.shutdown(wait=False)


class _Bridge:
    """Passes rows from the event loop to the encoding thread, and bytes back.

    It never raises in the thread, because arro3 panics when a file object raises. After `close`
    the thread gets no more rows, and bytes that it still writes are dropped.
    """

    def __init__(self, batches: AsyncIterator[list[bytes]]) -> None:
        self._batches = batches
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=2)
        self._failure: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self._closed = threading.Event()
        self._waiting: concurrent.futures.Future[Any] | None = None

    async def take(self) -> bytes | None:
        """The next piece, None after the last; raises the error of the row source."""
        piece = await self._pieces.get()
        if self._failure is not None:
            raise self._failure
        return piece

    def close(self) -> None:
        """Releases the thread if it waits."""
        self._closed.set()
        if self._waiting is not None:
            self._waiting.cancel()

    # Called in the encoding thread

    def fail(self, failure: Exception) -> None:
        """Is raised by `take`. The thread has to end the stream then."""
        self._failure = failure

    # These block

    def pull(self) -> list[bytes] | None:
        return self._await(self._next)

    def push(self, piece: bytes | None) -> None:
        self._await(lambda: self._pieces.put(piece))

    def _await(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        if self._closed.is_set():
            return None
        self._waiting = waiting = asyncio.run_coroutine_threadsafe(work(), self._loop)
        if self._closed.is_set():  # closed concurrently, perhaps before `_waiting` was set
            waiting.cancel()
        with contextlib.suppress(concurrent.futures.CancelledError):
            return waiting.result()
        return None

    async def _next(self) -> list[bytes] | None:
        try:
            return await anext(self._batches, None)
        except Exception as error:  # noqa: BLE001 - raised by `take`
            self._failure = error
            return None


class _Sink:
    """A write-only file object. arro3 checks for `read` and `seek` but does not call them."""

    def __init__(self, bridge: _Bridge) -> None:
        self._bridge = bridge
        self._buffer = bytearray()

    def write(self, data: bytes) -> int:
        self._buffer += data
        if len(self._buffer) >= PIECE_BYTES:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self._buffer:
            self._bridge.push(bytes(self._buffer))
            self._buffer.clear()

    def read(self, _size: int = -1) -> NoReturn:
        raise UnsupportedOperation("write-only")

    seek = read


def _write_all(write: Write, names: Sequence[str], oids: Sequence[int], bridge: _Bridge) -> None:
    """Runs in the encoding thread. Always ends the stream of pieces, also after an error."""
    from arro3.core import Field, RecordBatchReader, Schema

    try:
        types = _types(oids)
        schema = Schema([Field(name, type) for name, type in zip(names, types, strict=True)])
        sink = _Sink(bridge)
        batches = _record_batches(schema, types, bridge)
        write(RecordBatchReader.from_batches(schema, batches), cast("Any", sink))
        sink.flush()
    finally:
        bridge.push(None)


def _types(oids: Sequence[int]) -> "list[DataType]":
    """Booleans, small integers and floats are native types; all others are PostgreSQL's text."""
    from arro3.core import DataType

    native = {
        BOOL: DataType.bool(),
        INT2: DataType.int16(),
        INT4: DataType.int32(),
        FLOAT4: DataType.float64(),
        FLOAT8: DataType.float64(),
    }
    return [native.get(oid, DataType.large_utf8()) for oid in oids]


def _record_batches(
    schema: "Schema", types: "Sequence[DataType]", bridge: _Bridge
) -> "Iterator[RecordBatch]":
    from arro3.core import Array, DataType, RecordBatch

    floats = [type == DataType.float64() for type in types]
    rows = max(1, BATCH_CELLS // max(1, len(types)))
    while (lines := bridge.pull()) is not None:
        for start in range(0, len(lines) if types else 0, rows):
            columns = zip(*map(_decode, lines[start : start + rows]), strict=True)
            try:
                arrays = [
                    Array(_numbers(column) if is_float else column, type)
                    for column, type, is_float in zip(columns, types, floats, strict=True)
                ]
            except OverflowError:  # a hostile server sends anything
                bridge.fail(_too_large_integer())
                return
            yield RecordBatch.from_arrays(arrays, schema=schema)


def _too_large_integer() -> BadInput:
    return BadInput(
        "An integer of this result is larger than its type allows, so that it fits in no column.",
        hint="Use CSV or JSONL.",
        field="format",
    )


def _numbers(column: Sequence[float | str | None]) -> list[float | None]:
    """Floats are stored as text (decision 68)."""
    return [None if value is None else _number(value) for value in column]


def _number(value: float | str) -> float:
    try:
        return float(value)
    except ValueError:  # a hostile server sends anything
        return math.nan
