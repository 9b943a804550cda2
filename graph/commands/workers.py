"""`howdah serve --workers N`: one parent that owns the database, N processes that share the socket.

A worker is this module as a program. It reads its settings, secrets among them, from standard
input, and stops when that ends: no worker outlives its parent.
"""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec

from db.embedded import beside_a_server
from db.services import open_services
from db.settings import Settings
from graph.commands.serve import answer, opened
from graph.commands.stopping import Stop, run
from graph.logs import logging_to

log = logging.getLogger(__name__)

GRACE_S = 10.0  # beyond stop_seconds: for sockets, and for the services to close
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
STEADY_S = 10.0


def serve_with_workers(settings: Settings, count: int) -> None:
    """Serve with `count` processes until SIGTERM or SIGINT."""
    with logging_to(settings):
        run(lambda stop: _supervise(settings, count, stop))


async def _supervise(settings: Settings, count: int, stop: Stop) -> None:
    async with opened(settings) as (_, listener):
        ending = asyncio.Event()
        stop.by = ending.set
        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(_keep_one(settings, listener, ending))


async def _keep_one(settings: Settings, listener: socket.socket, ending: asyncio.Event) -> None:
    """A worker, and another in its place whenever it ends unasked."""
    pause_s = FIRST_PAUSE_S
    while not ending.is_set():
        started_at = time.monotonic()
        code = await _run_one(settings, listener, ending)
        if ending.is_set():
            return
        if time.monotonic() - started_at > STEADY_S:
            pause_s = FIRST_PAUSE_S
        log.error("a worker ended (code %d); another takes its place in %.1f s", code, pause_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def _run_one(settings: Settings, listener: socket.socket, ending: asyncio.Event) -> int:
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, str(listener.fileno())),
        stdin=asyncio.subprocess.PIPE,
        pass_fds=[listener.fileno()],
    )
    assert worker.stdin is not None  # noqa: S101 - it was asked for
    worker.stdin.write(msgspec.json.encode(settings, enc_hook=str) + b"\n")
    ended = asyncio.create_task(worker.wait())
    asked = asyncio.create_task(ending.wait())
    try:
        await asyncio.wait([ended, asked], return_when=asyncio.FIRST_COMPLETED)
        worker.stdin.close()
        async with asyncio.timeout(settings.stop_seconds + GRACE_S):
            return await ended
    except TimeoutError:
        log.warning("a worker did not stop in time")
        return -9
    finally:
        asked.cancel()
        if worker.returncode is None:
            worker.kill()
            await worker.wait()


async def _work(settings: Settings, listener: socket.socket, stop: Stop) -> None:
    parent = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(parent), sys.stdin)
    async with open_services(settings) as services:
        watch = asyncio.create_task(_stop_with(parent, stop))
        try:
            await answer(services, listener, stop)
        finally:
            watch.cancel()


async def _stop_with(parent: asyncio.StreamReader, stop: Stop) -> None:
    await parent.read()
    stop.ask(signal.SIGTERM)


def main(descriptor: str) -> None:
    """One worker, started by its parent."""
    told = msgspec.json.decode(sys.stdin.buffer.readline())
    settings = beside_a_server(msgspec.convert(told, Settings, dec_hook=lambda _, text: Path(text)))
    listener = socket.socket(fileno=int(descriptor))
    with logging_to(settings):
        run(lambda stop: _work(settings, listener, stop))


if __name__ == "__main__":
    gc.disable()  # as `howdah serve`
    main(sys.argv[1])
