"""Sends the data of COPY ... FROM STDIN, all of it or nothing."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from psycopg.abc import PQGen
from psycopg.pq.abc import PGconn
from psycopg.waiting import READY_R, READY_W, WAIT_RW

from db.errors import HowdahError
from db.runs import Failure
from db.workbench.connections.libpq import Connection
from db.workbench.copy.copy_failures import COPY_WITHOUT_DATA, source_failed
from db.workbench.copy.interfaces import CopySource, Throttle

PIECE_BYTES = 64 * 1024
"""libpq buffers so much at once, and the loop serves others between two pieces."""
CLOSE_S = 0.3


async def send_data(
    connection: Connection,
    source: CopySource | None,
    throttle: Throttle,
    stopped: asyncio.Event,
) -> Failure | None:
    """Sends all data, or tells the server to load nothing if the source fails or `stopped` is set.

    The result of the statement can be read afterwards; it is an error if nothing was loaded.

    Returns:
        Why the data ended early, if it is not that the run was stopped.
    """
    if source is None:
        await connection.wait(_end(connection.pgconn, b"no data"))
        return COPY_WITHOUT_DATA
    failure, reason = None, None
    try:
        async with contextlib.aclosing(_until_stopped(source, stopped)) as pieces:
            async for piece in pieces:
                await throttle.yield_to_others()
                await connection.wait(_put(connection.pgconn, piece))
        if stopped.is_set():
            reason = b"the run was stopped"
    except HowdahError as error:
        failure, reason = source_failed(error), b"its data cannot be read"
    except Exception:
        if not connection.closed:
            await connection.wait(_end(connection.pgconn, b"its data cannot be read"))
        raise
    await connection.wait(_end(connection.pgconn, reason))
    return failure


async def _until_stopped(source: CopySource, stopped: asyncio.Event) -> AsyncGenerator[memoryview]:
    """Small pieces of the data, until it ends or the run is stopped while it is awaited."""
    stopping = asyncio.ensure_future(stopped.wait())
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
                if stopped.is_set():
                    return
                yield memoryview(piece)[start : start + PIECE_BYTES]
    finally:
        stopping.cancel()
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
