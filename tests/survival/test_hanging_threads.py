"""A process ends although a thread of it waits for a file, a folder or a name without end."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
HANG = """
import asyncio, threading
begun = threading.Event()
def hang(*_, **__):
    begun.set()
    threading.Event().wait()
async def cancelled(work):
    task = asyncio.create_task(work)
    await asyncio.to_thread(begun.wait)
    task.cancel()
"""
NAME = """
import socket
from db.workbench.connections.targets.network_policy import Reach, Targets
socket.getaddrinfo = hang
asyncio.run(cancelled(Targets(Reach()).resolve("slow.example", 5432)))
"""
PRUNE = """
import datetime, pathlib, sys
from db.objects import store
store.prune = hang
objects = store.open_objects(None, data_dir=pathlib.Path(sys.argv[1]))
asyncio.run(cancelled(objects.prune(older_than=datetime.timedelta(0))))
"""
IDENTITY = """
import pathlib, sys
from db.objects import store
store.read_folder_id = hang
asyncio.run(cancelled(store.open_objects(None, data_dir=pathlib.Path(sys.argv[1])).identify()))
"""
AUDIT_STREAM = """
from graph.server import audit_stream
audit_stream._append = hang
async def write_next(_, write):
    await write([])
audit_stream.write_next = write_next
asyncio.run(cancelled(audit_stream._stream(None, "pipe")))
"""


@pytest.mark.parametrize("program", [NAME, PRUNE, IDENTITY, AUDIT_STREAM])
def test_process_ends_beside_a_thread_that_hangs(program: str, tmp_path: Path) -> None:
    """As for a name server, a folder on a network, or a pipe that no process reads."""
    command = [sys.executable, "-c", HANG + program, str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=PATIENCE_S)  # noqa: S603 - our own script
