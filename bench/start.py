"""Process start to the first answered query, and the memory of an idle server.

make bench-start                 nine starts against a running PostgreSQL; writes the pages
make bench-start ARGS="--runs 3" writes no pages
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from db.postgres.embedded import EmbeddedPostgres
from db.postgres.schema import migrations

if TYPE_CHECKING:
    from bench.figures import Start

QUERY = b'{"query": "{ health { status } }"}'
STARTED = re.compile(r"http://\S+/graphql")
RUNS = 9


class Run(NamedTuple):
    """One start."""

    first_answer_s: float
    cpu_s: float
    """CPU time of the server until the first response; independent of other load."""
    idle_bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    runs: int = parser.parse_args().runs
    from bench import figures, pages  # they import this module

    found = asyncio.run(bench(runs))
    print(pages.start_block(found))
    if runs == RUNS:
        figures.write("start", found)
        pages.update()
        sys.exit(bool(found.missed))


async def bench(runs: int) -> "Start":
    with tempfile.TemporaryDirectory() as folder:
        async with await EmbeddedPostgres.open(Path(folder) / "postgres") as postgres:
            await migrations.upgrade(postgres.url)
            await asyncio.to_thread(
                start_once, postgres.url, Path(folder)
            )  # compiles, fills caches
            measured = [
                await asyncio.to_thread(start_once, postgres.url, Path(folder)) for _ in range(runs)
            ]
            return report(measured, postgres.version)


def start_once(url: str, folder: Path) -> Run:
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    } | {
        "HOWDAH_DATABASE_URL": url,
        "HOWDAH_DATA_DIR": str(folder),
        "HOWDAH_ALLOW_ROOT": "true",
        "HOWDAH_SECRET_KEY": secrets.token_urlsafe(48),
        "HOWDAH_ENV": "development",
    }
    command = [str(Path(sys.executable).with_name("howdah")), "serve", "--port", "0"]
    started_at = time.perf_counter()
    with serving(command, environment) as server:
        address = wait_for_address(server)
        request = urllib.request.Request(address, QUERY, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as response:
            answer = json.load(response)
        first_answer_s = time.perf_counter() - started_at
        assert answer == {"data": {"health": {"status": "OK"}}}, answer
        process = psutil.Process(server.pid)
        times = process.cpu_times()
        time.sleep(1)
        return Run(first_answer_s, times.user + times.system, process.memory_info().rss)


@contextlib.contextmanager
def serving(command: list[str], environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield server
    finally:
        server.terminate()
        _, errors = server.communicate(timeout=60)
        assert server.returncode == 0, errors


def wait_for_address(server: "subprocess.Popen[str]") -> str:
    assert server.stdout is not None
    for line in server.stdout:
        if found := STARTED.search(line):
            return found[0]
    raise SystemExit("the server ended before it served")


def report(measured: list[Run], postgres: str) -> "Start":
    from bench.figures import Spread, Start, machine

    return Start(
        machine(postgres, ()),
        len(measured),
        first_answer_s=Spread.of([run.first_answer_s for run in measured]),
        cpu_s=Spread.of([run.cpu_s for run in measured]),
        idle_mb=Spread.of([run.idle_bytes / 1e6 for run in measured]),
    )


if __name__ == "__main__":
    main()
