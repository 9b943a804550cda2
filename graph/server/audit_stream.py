"""Writes the events of the audit log as lines of JSON to HOWDAH_AUDIT_LOG."""

import asyncio
import contextlib
import logging
import os
import stat
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

from db.audit import AuditEventRow, begin_stream, write_next
from db.concurrency.daemon_thread import in_daemon_thread
from db.concurrency.retry_log import RetryLog
from db.concurrency.waiting import Backoff, in_background
from db.postgres.engine import Database
from graph.audit.lines import to_json

log = logging.getLogger(__name__)

POLL_S = 1.0
BACKOFF = Backoff(first_s=1.0, longest_s=60.0)
STDOUT = "stdout"

failures: Counter[str] = Counter()
"""Failed attempts of this process, by destination."""


@contextlib.asynccontextmanager
async def streaming_audit_log(database: Database, destination: str | None) -> AsyncIterator[None]:
    """Streams while the block runs. Each event is written by one process of the installation."""
    if destination is None:
        yield
        return
    await begin_stream(database)
    async with in_background(_stream(database, destination), name="audit: stream"):
        yield


async def _stream(database: Database, destination: str) -> None:
    async def write(events: Sequence[AuditEventRow]) -> None:
        lines = b"".join(to_json(event) + b"\n" for event in events)
        # A pipe that is not read would hold up the end of the process.
        await in_daemon_thread(partial(_append, destination, lines), name="audit: stream")

    retry_log = RetryLog(log, f"write the audit stream to {destination}")
    pauses = BACKOFF.pauses()
    while True:
        try:
            if await write_next(database, write):
                retry_log.succeeded()
                continue
            pauses, pause_s = BACKOFF.pauses(), POLL_S
            retry_log.succeeded()
        except Exception as error:  # noqa: BLE001 - the database or the disk may be available again
            failures[destination] += 1
            retry_log.failed(error)
            pause_s = next(pauses)
        await asyncio.sleep(pause_s)


def _append(destination: str, lines: bytes) -> None:
    """Opens the file each time, so that it can be rotated; several processes append whole lines."""
    if destination == STDOUT:
        sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()
        return
    path = Path(destination).expanduser()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)  # and no pipe
        if is_regular and _ends_within_a_line(path):
            file.write(b"\n")
        file.write(lines)
        file.flush()
        if is_regular:  # the position after these events is about to be committed
            os.fsync(descriptor)


def _ends_within_a_line(path: Path) -> bool:
    """After a full disk, or a process that was killed: what follows is not part of that line."""
    with contextlib.suppress(OSError), path.open("rb") as file:  # empty, or not readable
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
    return False
