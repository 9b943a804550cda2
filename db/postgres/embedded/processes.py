"""Starts PostgreSQL processes, waits for their end, and finds leftover ones."""

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from db.postgres.embedded.account import Account
from db.postgres.embedded.binaries import ENVIRONMENT

PR_SET_PDEATHSIG = 1
STOP_TIMEOUT_S = 10.0

# A postmaster's title is its command line, its children's are "postgres: <cluster name>: ...".
_POSTGRES = re.compile(r"postgres: |[^\0]*/bin/postgres[\0 ]")


class Process:
    """A child process that the event loop watches without a thread."""

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self._popen = popen
        self.pid = popen.pid

    @classmethod
    def start(
        cls, command: Sequence[str | Path], *, cwd: Path, account: Account, log: Path
    ) -> "Process":
        with log.open("ab") as output:
            popen = subprocess.Popen(  # noqa: S603 - a program of our own wheel, no shell
                command,
                cwd=cwd,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl+C in the terminal must reach only this process
                preexec_fn=_end_with_parent(),  # noqa: PLW1509 - one system call, no locks taken
                **account.options,
            )
        return cls(popen)

    @property
    def returncode(self) -> int | None:
        return self._popen.poll()

    def stop(self) -> None:
        """Request a fast shutdown: sessions end, and all data is written."""
        self._popen.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Request an immediate shutdown, which ends the child processes too; then SIGKILL."""
        self._popen.send_signal(signal.SIGQUIT)
        try:
            self._popen.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    async def ended(self) -> int:
        """Wait for the end of the process and return its exit code."""
        with contextlib.suppress(OSError):  # a kernel without pidfd_open
            await self._ended_by_pidfd()
        while (code := self._popen.poll()) is None:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.05)
        return code

    async def _ended_by_pidfd(self) -> None:
        if sys.platform != "linux" or self._popen.poll() is not None:
            return
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        descriptor = os.pidfd_open(self.pid)
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)


async def run(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    account: Account | None = None,
    environment: Mapping[str, str] = ENVIRONMENT,
    stdin: str = "",
) -> tuple[int, str, str]:
    """Run a program to its end: return code, output, errors. Cancelling kills it."""
    with TemporaryFile() as given:  # a file and no pipe: initdb opens /dev/stdin by its name
        given.write(stdin.encode())
        given.seek(0)
        if account and account.options:
            os.fchown(given.fileno(), account.uid, account.gid)
        popen = subprocess.Popen(  # noqa: ASYNC220, S603 - ours, and asyncio's has no user=
            command,
            cwd=cwd,
            env=environment,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **(account.options if account else {}),
        )
    try:
        output, errors = await asyncio.to_thread(popen.communicate)
    except asyncio.CancelledError:
        popen.kill()
        popen.wait()
        raise
    return popen.returncode, output.decode(errors="replace"), errors.decode(errors="replace")


def marker(folder: Path) -> str:
    """Text in the titles of all processes of a cluster. A rename of the folder keeps it."""
    state = folder.stat()
    return f"howdah-{state.st_dev:x}-{state.st_ino:x}-pg"


def find(mark: str) -> list[int]:
    """The running PostgreSQL processes with `mark` in their title. Excludes zombies."""
    titles = _titles_in_proc() if sys.platform == "linux" else _titles_from_ps()
    return [pid for pid, title in titles if mark in title and _POSTGRES.match(title)]


async def end_leftovers(mark: str, postmaster: int | None) -> list[int]:
    """End the leftover processes of a cluster, with SIGINT and then SIGKILL; return their IDs."""
    found = find(mark)
    if postmaster in found:
        _signal([postmaster], signal.SIGINT)
        await _gone(mark, STOP_TIMEOUT_S)
    # Backends without a postmaster do not shut down at SIGINT: it cancels their statement.
    while left := find(mark):
        _signal(left, signal.SIGKILL)
        await _gone(mark, 1.0)
    return found


def kill_all(mark: str) -> None:
    _signal(find(mark), signal.SIGKILL)


async def _gone(mark: str, timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while find(mark):  # noqa: ASYNC110 - they are not our children: there is no event
                await asyncio.sleep(0.02)


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _titles_in_proc() -> Iterator[tuple[int, str]]:
    """Reads only `cmdline`: root in a container may not read other files of a process."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # the process has ended
                yield int(entry.name), (entry / "cmdline").read_bytes().decode("latin-1")


def _titles_from_ps() -> Iterator[tuple[int, str]]:
    listed = subprocess.run(
        ["/bin/ps", "-axww", "-o", "pid=,command="], capture_output=True, check=True
    )
    for line in listed.stdout.decode("latin-1").splitlines():
        pid, _, title = line.strip().partition(" ")
        yield int(pid), title


def _end_with_parent() -> Callable[[], None] | None:
    """A function that makes Linux stop the child when this process ends, also by `kill -9`.

    The signal is sent when the *thread* that forked ends, so only the main thread can request it.
    Otherwise the next start ends the leftover processes.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def request_signal() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:  # the parent ended before the request
            os._exit(1)

    return request_signal
