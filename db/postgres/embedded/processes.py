"""Starts PostgreSQL processes, awaits their end, and finds orphans."""

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

# The title of a postmaster is its command line; children have "postgres: <cluster name>: ...".
_POSTGRES = re.compile(r"postgres: |[^\0]*/bin/postgres[\0 ]")


class Process:
    """One child process, watched by the event loop instead of a thread."""

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
                start_new_session=True,  # Ctrl-C must reach only us; we then stop it
                preexec_fn=_end_with_parent(),  # noqa: PLW1509 - one system call, no locks taken
                **account.options,
            )
        return cls(popen)

    @property
    def returncode(self) -> int | None:
        return self._popen.poll()

    def stop(self) -> None:
        """Requests a fast shutdown: sessions are ended, all data is written."""
        self._popen.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Immediate shutdown, which also ends its children; SIGKILL after 2 seconds."""
        self._popen.send_signal(signal.SIGQUIT)
        try:
            self._popen.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    async def ended(self) -> int:
        """Waits for the end of the process. Returns its code."""
        with contextlib.suppress(OSError):  # a kernel without pidfd_open
            await self._ended_by_pidfd()
        while (code := self._popen.poll()) is None:  # noqa: ASYNC110 - there is no event to await
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
    """Runs a program. Returns its code, output and errors; cancelling kills it."""
    with TemporaryFile() as stdin_file:  # not a pipe, because initdb opens /dev/stdin by name
        stdin_file.write(stdin.encode())
        stdin_file.seek(0)
        if account and account.options:
            os.fchown(stdin_file.fileno(), account.uid, account.gid)
        popen = subprocess.Popen(  # noqa: ASYNC220, S603 - ours, and asyncio's has no user=
            command,
            cwd=cwd,
            env=environment,
            stdin=stdin_file,
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
    """A name in the titles of all processes of the folder, which survives renaming it."""
    state = folder.stat()
    return f"howdah-{state.st_dev:x}-{state.st_ino:x}-pg"


def find(mark: str) -> list[int]:
    """Running PostgreSQL processes with `mark` in their titles: no zombies or reused pids."""
    titles = _titles_in_proc() if sys.platform == "linux" else _titles_from_ps()
    return [pid for pid, title in titles if mark in title and _POSTGRES.match(title)]


async def end_leftovers(mark: str, postmaster: int | None) -> list[int]:
    """Stops processes of an earlier server, by SIGKILL if necessary. Returns their pids."""
    found = find(mark)
    if postmaster in found:
        _signal([postmaster], signal.SIGINT)
        await _wait_until_gone(mark, STOP_TIMEOUT_S)
    # Backends without a postmaster cannot be stopped by SIGINT, which only cancels their query.
    while left := find(mark):
        _signal(left, signal.SIGKILL)
        await _wait_until_gone(mark, 1.0)
    return found


def kill_all(mark: str) -> None:
    _signal(find(mark), signal.SIGKILL)


async def _wait_until_gone(mark: str, timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while find(mark):  # noqa: ASYNC110 - not our children, so there is no event
                await asyncio.sleep(0.02)


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _titles_in_proc() -> Iterator[tuple[int, str]]:
    """Reads cmdline, because root in a container cannot read other entries of a process."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it has just ended
                yield int(entry.name), (entry / "cmdline").read_bytes().decode("latin-1")


def _titles_from_ps() -> Iterator[tuple[int, str]]:
    listed = subprocess.run(
        ["/bin/ps", "-axww", "-o", "pid=,command="], capture_output=True, check=True
    )
    for line in listed.stdout.decode("latin-1").splitlines():
        pid, _, title = line.strip().partition(" ")
        yield int(pid), title


def _end_with_parent() -> Callable[[], None] | None:
    """Makes Linux stop the child (fast shutdown) if this process ends, even by SIGKILL.

    The kernel sends the signal when the *thread* that forked ends, so this works only in the main
    thread; otherwise the next start stops the orphans.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def request_signal() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:  # the parent ended before the call
            os._exit(1)

    return request_signal
