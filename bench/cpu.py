"""CPU time of other processes, to the nanosecond where the kernel says it."""

import contextlib
from pathlib import Path

import psutil


def postgres_cpu_s(postmaster: psutil.Process) -> float:
    """CPU time of all processes of a PostgreSQL server, ended ones included."""
    own = postmaster.cpu_times()
    backends = (cpu_s(process) for process in postmaster.children())
    return float(own.children_user + own.children_system) + sum(backends)


def cpu_s(process: psutil.Process) -> float:
    """User and system time of all threads; 0 if the process has ended.

    psutil counts in ticks of 10 ms, which is more than a PostgreSQL backend uses in a short round.
    """
    with contextlib.suppress(OSError, IndexError):
        threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
        if times := [int(thread.read_text().split()[0]) for thread in threads]:
            return sum(times) / 1e9
    with contextlib.suppress(psutil.NoSuchProcess):
        ticks = process.cpu_times()
        return float(ticks.user + ticks.system)
    return 0.0
