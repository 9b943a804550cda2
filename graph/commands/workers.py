"""`howdah serve --workers N`: one parent that owns the database, N processes that share the socket.

A worker runs this module as a program. It reads its settings and secrets from standard input and
stops when standard input is closed, so that no worker outlives its parent. Parent and workers
share a board (`metrics_board`) with the metrics of each and the findings of the parent about the
embedded database, so that any worker can answer a request for metrics.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import time
from typing import NoReturn

import msgspec

from db.services import Services, SharedPostgres, open_services
from db.settings import Settings
from db.waiting import Backoff, wait_up_to
from graph.commands.serve import answer, opened
from graph.server.exposition import Snapshot
from graph.server.logs import logging_to
from graph.server.metrics import PUBLISH_INTERVAL_S
from graph.server.metrics_board import Board
from graph.server.signals import Stop, run

log = logging.getLogger(__name__)

STOP_GRACE_S = 10.0  # beyond stop_seconds: for sockets, and for the services to close
BACKOFF = Backoff(first_s=0.1, longest_s=5.0)
STABLE_AFTER_S = 10.0
MAX_FINDING_CHARACTERS = 1_000


class WorkerTask(msgspec.Struct, frozen=True):
    """The task that a worker reads when it starts. `listener` and `board` are file descriptors."""

    settings: Settings
    listener: int
    database_url: str | None
    """The URL of the embedded database, which the parent runs."""
    board: int
    page: int


class ParentSnapshot(Snapshot):
    """The page of the parent on the board."""

    findings: list[str] = msgspec.field(default_factory=list)


def serve_with_workers(settings: Settings, count: int) -> None:
    """Serve with `count` processes until SIGTERM or SIGINT."""
    with logging_to(settings):
        run(lambda stop: _supervise(settings, count, stop))


async def _supervise(settings: Settings, count: int, stop: Stop) -> None:
    board = Board.make(1 + count)
    async with opened(settings) as (services, listener):
        ending = asyncio.Event()
        stop.by = ending.set
        database_url = services.embedded.url if services.embedded else None
        publishing = asyncio.create_task(_publish(services, board))
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                task = WorkerTask(
                    settings, listener.fileno(), database_url, board.descriptor, number + 1
                )
                tasks.create_task(_keep_worker_running(task, ending))
        publishing.cancel()


async def _publish(services: Services, board: Board) -> NoReturn:
    """Publishes the findings about the embedded database, which only the parent has."""
    while True:
        found = [words[:MAX_FINDING_CHARACTERS] for words in services.findings]
        cpu_s = time.process_time()
        note = ParentSnapshot(pid=os.getpid(), counters={"cpu_seconds": cpu_s}, findings=found)
        board.write(msgspec.json.encode(note))
        await asyncio.sleep(PUBLISH_INTERVAL_S)


async def _keep_worker_running(task: WorkerTask, ending: asyncio.Event) -> None:
    """Runs a worker, and starts another when it ends before `ending` is set."""
    pauses = BACKOFF.pauses()
    while not ending.is_set():
        started_at = time.monotonic()
        code = await _run_worker(task, ending)
        if ending.is_set():
            return
        if time.monotonic() - started_at > STABLE_AFTER_S:
            pauses = BACKOFF.pauses()
        pause_s = next(pauses)
        log.error("a worker ended (code %d); another is started in %.1f s", code, pause_s)
        await wait_up_to(pause_s, ending.wait())


async def _run_worker(task: WorkerTask, ending: asyncio.Event) -> int:
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__),
        stdin=asyncio.subprocess.PIPE,
        pass_fds=[task.listener, task.board],
    )
    assert worker.stdin is not None  # noqa: S101 - stdin is a pipe
    worker.stdin.write(msgspec.json.encode(task, enc_hook=str) + b"\n")
    ended = asyncio.create_task(worker.wait())
    asked = asyncio.create_task(ending.wait())
    try:
        await asyncio.wait([ended, asked], return_when=asyncio.FIRST_COMPLETED)
        worker.stdin.close()
        async with asyncio.timeout(task.settings.stop_seconds + STOP_GRACE_S):
            return await ended
    except TimeoutError:
        log.warning("a worker did not stop in time")
        return -9
    finally:
        asked.cancel()
        if worker.returncode is None:
            worker.kill()
            await worker.wait()


async def _work(task: WorkerTask, stop: Stop) -> None:
    parent = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(parent), sys.stdin)
    board = Board(task.board, own=task.page)
    shared = None
    if task.database_url is not None:
        shared = SharedPostgres(task.database_url, lambda: _findings(board))
    listener = socket.socket(fileno=task.listener)
    async with open_services(task.settings, shared=shared) as services:
        watch = asyncio.create_task(_stop_with_parent(parent, stop))
        try:
            await answer(services, listener, stop, board)
        finally:
            watch.cancel()


def _findings(board: Board) -> list[str]:
    published = board.read_first()
    return msgspec.json.decode(published, type=ParentSnapshot).findings if published else []


async def _stop_with_parent(parent: asyncio.StreamReader, stop: Stop) -> None:
    await parent.read()
    stop.ask(signal.SIGTERM)


def main() -> None:
    """Runs one worker."""
    task = msgspec.json.decode(
        sys.stdin.buffer.readline(), type=WorkerTask, dec_hook=lambda kind, text: kind(text)
    )
    with logging_to(task.settings):
        run(lambda stop: _work(task, stop))


if __name__ == "__main__":
    gc.disable()  # as `howdah serve`
    main()
