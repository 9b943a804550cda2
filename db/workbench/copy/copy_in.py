"""Sends the data of COPY ... FROM STDIN, all of it or nothing."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NamedTuple

from psycopg.abc import PQGen
from psycopg.pq.abc import PGconn
from psycopg.waiting import READY_R, READY_W, WAIT_RW

from db.errors import HowdahError
from db.runs import Failure
from db.workbench.connections.libpq import Connection
from db.workbench.copy.copy_failures import COPY_WITHOUT_DATA, source_failed
from db.workbench.copy.interfaces import CopySource, Throttle

PIECE_BYTES = 64 * 1024
"""Maximum that libpq is given at once; the event loop serves others between two pieces."""
CLOSE_S = 0.3
FIRST_CHECK_S = 2.0
LATER_CHECKS_S = 30.0
"""libpq hides an error of the server until all data is sent, which may take minutes. So a side
connection asks the server, with intervals that double from FIRST_CHECK_S up to LATER_CHECKS_S."""


class CopyInput(NamedTuple):
    """The data of a statement, and the two reasons to end it early."""

    source: CopySource | None
    stopped: asyncio.Event
    """Set when the run is stopped."""
    has_failed: Callable[[], Awaitable[bool]]
    """Returns whether the statement has failed on the server."""


async def send_data(connection: Connection, data: CopyInput, throttle: Throttle) -> Failure | None:
    """Sends all data, or tells the server to load nothing: the source failed, the run is stopped.

    The result of the statement can be read afterwards; it is an error if nothing was loaded.

    Returns:
        Why the data ended early, if it is not that the run was stopped.
    """
    source = data.source
    if source is None:
        await connection.wait(_end(connection.pgconn, b"no data"))
        return COPY_WITHOUT_DATA
    failure, reason = None, None
    try:
        if not await _send_pieces(connection, source, throttle, data):
            reason = b"the run was stopped"
    except HowdahError as error:
        failure, reason = source_failed(error), b"its data cannot be read"
    except Exception:
        if not connection.closed:
            await connection.wait(_end(connection.pgconn, b"its data cannot be read"))
        raise
    await connection.wait(_end(connection.pgconn, reason))
    return failure


async def _send_pieces(
    connection: Connection,
    source: CopySource,
    throttle: Throttle,
    data: CopyInput,
) -> bool:
    """Returns False if the run was stopped, or has failed, before all data was sent."""
    stopping = asyncio.create_task(_wait_for_end(data), name="runs: copied data")
    try:
        async with contextlib.aclosing(_pieces(source, stopping)) as pieces:
            async for piece in pieces:
                await throttle.yield_to_others()
                await connection.wait(_put(connection.pgconn, piece))
        return not stopping.done()
    finally:
        stopping.cancel()


async def _wait_for_end(data: CopyInput) -> None:
    """Returns when the run is stopped, or its statement has failed."""
    wait_s = FIRST_CHECK_S
    while not data.stopped.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await data.stopped.wait()
        wait_s = min(2 * wait_s, LATER_CHECKS_S)
        if not data.stopped.is_set() and await data.has_failed():
            return


async def _pieces(source: CopySource, stopping: "asyncio.Task[None]") -> AsyncGenerator[memoryview]:
    """Small pieces of the data, until it ends or `stopping` is done while it is awaited."""
    try:
        while True:
            step = asyncio.ensure_future(anext(source, None))
            try:
                await asyncio.wait({step, stopping}, return_when=asyncio.FIRST_COMPLETED)
                piece = step.result() if step.done() else None
            finally:
                if not step.done():
                    step.cancel()
                    await asyncio.wait({step}, timeout=CLOSE_S)
            if piece is None:
                return
            for start in range(0, len(piece), PIECE_BYTES):
                if stopping.done():
                    return
                yield memoryview(piece)[start : start + PIECE_BYTES]
    finally:
        with contextlib.suppress(RuntimeError):  # it still runs: it does not heed its cancellation
            await source.aclose()


def _put(pgconn: PGconn, piece: memoryview) -> PQGen[None]:
    while not pgconn.put_copy_data(piece):
        yield from _writable(pgconn)
    while pgconn.flush():
        yield from _writable(pgconn)


def _end(pgconn: PGconn, reason: bytes | None) -> PQGen[None]:
    while not pgconn.put_copy_end(reason):
        yield from _writable(pgconn)
    while pgconn.flush():
        yield from _writable(pgconn)


def _writable(pgconn: PGconn) -> PQGen[None]:
    """Reads notices while it waits: a server that cannot send them reads no more data."""
    ready = 0
    while not ready & READY_W:
        ready = yield WAIT_RW
        if ready & READY_R:
            pgconn.consume_input()
