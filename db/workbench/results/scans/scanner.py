"""Reads all rows of a result for a scan, in a thread or, if they are many, in a process."""

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import AsyncIterator

import msgspec

from db.concurrency.fair_slots import FairSlots
from db.errors import TimedOut, TooLarge, Unavailable
from db.row_scans import scan_process
from db.row_scans.scan_process import ScanRequest, answer_of, start_scan
from db.runs import RunRow
from db.workbench.child_process import child_process
from db.workbench.results.result_files import result_not_found
from db.workbench.results.result_store import ResultStore, Span

log = logging.getLogger(__name__)

SMALL_BYTES = 256 * 1024
"""At most this much is scanned in a thread, in less time than a process takes to start."""
MEMORY_BYTES = 512 * 1024 * 1024
PIPE_BYTES = 128 * 1024
"""The event loop copies what a pipe has not taken yet."""
MAX_SCANS = 4
MAX_SCANS_PER_USER = 2
MAX_WAITING_SCANS = 20
MAX_WAIT_S = 15.0
SCAN_S = 30.0

_START = """import json, sys
sys.path[:] = json.loads(sys.argv[2])
from db.row_scans.scan_process import main
main()"""


class Scanner:
    """Limits the number of concurrent scans."""

    def __init__(self, results: ResultStore) -> None:
        self._results = results
        self._slots = FairSlots(
            "sorts, filters and statistics of results",
            total=MAX_SCANS,
            of_one_user=lambda: MAX_SCANS_PER_USER,
            max_waiting=MAX_WAITING_SCANS,
            wait_s=MAX_WAIT_S,
        )

    async def scan(self, run: RunRow, request: ScanRequest) -> bytes:
        """The answer of db.row_scans.scan_process.

        Raises:
            TimedOut, TooLarge: The result is too large for it.
            NotFound: The result has been deleted.
        """
        async with self._slots.of(run.owner_id):
            try:
                async with asyncio.timeout(SCAN_S):
                    if run.result_bytes <= SMALL_BYTES:
                        return await self._scan_in_thread(run, request)
                    return await self._scan_in_process(run, request)
            except TimeoutError:
                raise TimedOut(
                    f"The rows were not read within {SCAN_S:.0f} seconds.",
                    hint="Sort or filter in the statement itself, with ORDER BY and WHERE.",
                ) from None

    async def _spans(self, run: RunRow) -> AsyncIterator[Span]:
        """All rows; raises NotFound if the result is deleted meanwhile."""
        left = run.row_count
        async for span in self._results.spans(run.owner_id, run.id, 0, run.row_count):
            left -= span.row_count
            yield span
        if left:
            raise result_not_found()

    async def _scan_in_thread(self, run: RunRow, request: ScanRequest) -> bytes:
        spans = [span async for span in self._spans(run)]

        def work() -> bytes:
            scanned = start_scan(request)
            for span in spans:
                scanned.add(span.page, span.offset, span.lines)
            return b"".join(answer_of(scanned))

        return await asyncio.to_thread(work)

    async def _scan_in_process(self, run: RunRow, request: ScanRequest) -> bytes:
        asked = msgspec.json.encode(request)
        program = ("-S", "-c", _START, str(MEMORY_BYTES), json.dumps(sys.path))
        async with child_process(*program, stderr=asyncio.subprocess.PIPE) as child:
            process, stdin, stdout = child
            stdin.write(scan_process.SIZE.pack(len(asked)) + asked)
            with contextlib.suppress(ConnectionError):  # its status says why it ended
                async for span in self._spans(run):
                    size = len(span.lines)
                    stdin.write(scan_process.ROWS.pack(span.page, span.offset, size))
                    for start in range(0, size, PIPE_BYTES):
                        stdin.write(span.lines[start : start + PIPE_BYTES])
                        await stdin.drain()
                stdin.write(scan_process.ROWS.pack(0, 0, 0))
                await stdin.drain()
            answer = await stdout.read()
            status = await process.wait()
            if status:
                assert process.stderr is not None  # noqa: S101 - it is a pipe
                trace = (await process.stderr.read()).decode(errors="replace")
                raise _failure(status, trace)
            return answer


def _failure(status: int, trace: str) -> TooLarge | Unavailable:
    if status == scan_process.OUT_OF_MEMORY or status < 0:
        return TooLarge(
            f"The rows need more than {MEMORY_BYTES // 1024**2} MiB of memory to be sorted, "
            "filtered or summarised.",
            hint="Sort or filter in the statement itself, with ORDER BY and WHERE.",
        )
    log.error("a scan of a result failed: %s", trace.strip().rpartition("\n")[2][:500])
    return Unavailable(
        "The rows could not be sorted, filtered or summarised.",
        hint="Retry later. The log has the error.",
    )
