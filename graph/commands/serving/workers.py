"""`howdah serve --workers N`: a parent that owns the database, and N processes on one socket.

A worker runs this module as a program. It reads its task, which contains secrets, from standard
input, and stops at the end of the input: no worker outlives the parent. Later lines of the input
are the findings of the embedded PostgreSQL, which only the parent knows.
"""

import asyncio
import gc
import logging
import signal
import socket
import sys
import tempfile
import time
from typing import NoReturn

import msgspec
from prometheus_client.multiprocess import mark_process_dead

from db.concurrency.waiting import Backoff, in_background, wait_up_to
from db.errors import HowdahError
from db.own_database import SharedPostgres
from db.services import Services, open_services
from db.settings import Settings
from graph.commands.process_exit import exit_process
from graph.commands.serving.serve import open_server, refuse_root, serve_requests
from graph.server.logs import logging_to
from graph.server.metrics.workers import share_metrics
from graph.server.signals import Stop, run
from graph.server.tracing import Traces, tracing

log = logging.getLogger(__name__)

STOP_GRACE_S = 10.0  # beyond drain_s and stop_seconds: for sockets, and for the services to close
BACKOFF = Backoff(first_s=0.1, longest_s=5.0)
STABLE_AFTER_S = 10.0
FINDINGS_INTERVAL_S = 1.0
MAX_LINE_BYTES = 1024 * 1024


class WorkerTask(msgspec.Struct, frozen=True):
    """The first line that a worker reads."""

    settings: Settings
    listener: int
    """File descriptor of the listening socket."""
    database_url: str | None
    """URL of the embedded database, which the parent runs."""
    metrics_folder: str
    number: int


def serve_with_workers(settings: Settings, count: int) -> None:
    """Serve with `count` processes until SIGTERM or SIGINT."""
    refuse_root(settings)
    with logging_to(settings):
        run(lambda stop: _supervise(settings, count, stop))


async def _supervise(settings: Settings, count: int, stop: Stop) -> None:
    async with open_server(settings) as (services, listener):
        ending = asyncio.Event()

        def leave() -> None:
            ending.set()
            services.stop_timer.begin()
            listener.close()  # else connections wait for a worker after the last has closed its own

        stop.by = leave
        database_url = services.embedded.url if services.embedded else None
        with tempfile.TemporaryDirectory(prefix="howdah-metrics-") as folder:
            async with asyncio.TaskGroup() as tasks:
                for number in range(count):
                    task = WorkerTask(settings, listener.fileno(), database_url, folder, number)
                    tasks.create_task(_keep_worker_running(task, services, ending))


async def _keep_worker_running(task: WorkerTask, services: Services, ending: asyncio.Event) -> None:
    """Run a worker, and replace it whenever it ends before the server does."""
    pauses = BACKOFF.pauses()
    while not ending.is_set():
        started_at = time.monotonic()
        try:
            end = f"a worker ended with code {await _run_worker(task, services, ending)}"
        except OSError as error:  # no memory or no process is left; the other workers go on
            end = f"a worker cannot be started ({error.strerror})"
        if ending.is_set():
            return
        mark_process_dead(task.number, task.metrics_folder)  # removes its gauges
        if time.monotonic() - started_at > STABLE_AFTER_S:
            pauses = BACKOFF.pauses()
        pause_s = next(pauses)
        log.error("%s; another is started in %.1f s", end, pause_s)
        await wait_up_to(pause_s, ending.wait())


async def _run_worker(task: WorkerTask, services: Services, ending: asyncio.Event) -> int:
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__),
        stdin=asyncio.subprocess.PIPE,
        pass_fds=[task.listener],
    )
    assert worker.stdin is not None  # noqa: S101 - PIPE was passed
    worker.stdin.write(msgspec.json.encode(task, enc_hook=str) + b"\n")
    sending = asyncio.create_task(_send_findings(services, worker.stdin))
    ended = asyncio.create_task(worker.wait())
    asked = asyncio.create_task(ending.wait())
    try:
        await asyncio.wait([ended, asked], return_when=asyncio.FIRST_COMPLETED)
        sending.cancel()
        worker.stdin.close()
        limit_s = task.settings.drain_s + task.settings.stop_seconds + STOP_GRACE_S
        async with asyncio.timeout(limit_s):
            return await ended
    except TimeoutError:
        log.warning("a worker did not stop in time and is killed")
        return -signal.SIGKILL
    finally:
        sending.cancel()
        asked.cancel()
        if worker.returncode is None:
            worker.kill()
            await worker.wait()


async def _send_findings(services: Services, worker: asyncio.StreamWriter) -> NoReturn:
    sent: list[str] = []
    while True:
        if (findings := list(services.findings)) != sent:
            worker.write(msgspec.json.encode(findings) + b"\n")
            sent = findings
        await asyncio.sleep(FINDINGS_INTERVAL_S)


async def _work(task: WorkerTask, stop: Stop, traces: Traces | None) -> None:
    parent = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(parent), sys.stdin)
    findings: list[str] = []
    shared = None
    if task.database_url is not None:
        shared = SharedPostgres(task.database_url, lambda: findings)
    listener = socket.socket(fileno=task.listener)
    async with (
        open_services(task.settings, shared=shared) as services,
        in_background(_follow_parent(parent, findings, stop), name="parent"),
    ):
        await serve_requests(services, listener, stop, worker=True, traces=traces)


async def _follow_parent(parent: asyncio.StreamReader, findings: list[str], stop: Stop) -> None:
    async for line in parent:
        findings[:] = msgspec.json.decode(line, type=list[str])
    stop.ask(signal.SIGTERM)


def main() -> int:
    """Run a worker; returns its exit code."""
    # Unbuffered: the event loop reads what follows the first line.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as parent:
        line = parent.readline()
    task = msgspec.json.decode(line, type=WorkerTask, dec_hook=lambda kind, text: kind(text))
    share_metrics(task.metrics_folder, task.number)
    with logging_to(task.settings), tracing() as traces:
        try:
            run(lambda stop: _work(task, stop, traces))
        except HowdahError as error:
            log.error("the worker cannot start: %s %s", error.message, error.hint)  # noqa: TRY400 - no bug
            return 1
        except Exception:
            log.exception("the worker failed")
            return 1
    return 0


if __name__ == "__main__":
    gc.disable()  # as in `howdah serve`; graph.server.uvicorn_server enables it again
    exit_process(main())
