"""Processes for work that may take much memory or end its process."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from typing import NamedTuple


class Child(NamedTuple):
    process: Process
    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader


@contextlib.asynccontextmanager
async def child_process(*arguments: str, stderr: int) -> AsyncIterator[Child]:
    """Runs a Python program of ours with these arguments, and kills it at the end of the block."""
    inherited = ("LD_LIBRARY_PATH", "TMPDIR")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", *arguments),
        stdin=PIPE,
        stdout=PIPE,
        stderr=stderr,
        env={name: os.environ[name] for name in inherited if name in os.environ},
    )
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    assert process.stdout is not None  # noqa: S101
    try:
        yield Child(process, process.stdin, process.stdout)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.stdin.close()
        await process.wait()
