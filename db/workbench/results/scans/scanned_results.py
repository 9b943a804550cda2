"""Pages of sorted and filtered results, and statistics of their columns.

The places of the rows of a large result are kept beside it in the object store, so that every
replica returns the next page without another scan. They are deleted with the result.
"""

import contextlib
import hashlib
from typing import NamedTuple

import msgspec

from db.concurrency.waiting import SharedTasks
from db.errors import NotFound, Unavailable
from db.objects.store import ObjectStore
from db.row_scans.column_statistics import Statistics, StatisticsRequest
from db.row_scans.row_order import PLACE, OrderRequest, RowPlace, places_of
from db.row_scans.scan_process import ScanRequest
from db.runs import RunRow
from db.workbench.results.result_store import ResultStore, result_prefix
from db.workbench.results.scans.scanner import SMALL_BYTES, Scanner

KEPT_SCANS = 8
"""Orders that are kept for a result; the oldest are deleted. One takes 16 bytes for each row."""
FOLDER = "scans"
FORMAT = b"1"
"""Changes when answers or their order change, so that those of an earlier release are not read."""


class PlacesPage(NamedTuple):
    """`total` is the number of rows that satisfy the conditions."""

    places: list[RowPlace]
    total: int


class ResultScans:
    """Works on any replica."""

    def __init__(self, results: ResultStore, objects: ObjectStore) -> None:
        self._results = results
        self._objects = objects
        self.scanner = Scanner(results)
        self._scans = SharedTasks[str, bytes]("results: scan")
        """Requests for the same pages at the same time wait for one scan."""

    async def places(
        self, run: RunRow, request: OrderRequest, *, offset: int, first: int
    ) -> PlacesPage:
        """A page of the sorted and filtered rows of a run that has ended."""
        key = _key(run, request)
        start, end = (1 + offset) * PLACE.size, (1 + offset + first) * PLACE.size
        if _is_kept(run):
            with contextlib.suppress(NotFound):
                total = _total(await self._objects.read_bytes(key, start=0, end=PLACE.size))
                end = min(end, (1 + total) * PLACE.size)
                records = await self._objects.read_bytes(key, start=start, end=end)
                return PlacesPage(places_of(records), total)
        answer = await self._scans.run(key, lambda: self._find_order(key, run, request))
        return PlacesPage(places_of(answer[start:end]), _total(answer))

    async def statistics(self, run: RunRow, request: StatisticsRequest) -> Statistics:
        """Statistics of a column of a run that has ended."""
        key = _key(run, request)
        answer = await self._scans.run(key, lambda: self.scanner.scan(run, request))
        return msgspec.json.decode(answer, type=Statistics)

    async def _find_order(self, key: str, run: RunRow, request: OrderRequest) -> bytes:
        answer = await self.scanner.scan(run, request)
        if _is_kept(run):
            with contextlib.suppress(Unavailable):  # it is found again for the next page
                await self._objects.put_bytes(key, answer)
                await self._delete_oldest(run)
        return answer

    async def _delete_oldest(self, run: RunRow) -> None:
        kept = [one async for batch in self._objects.list(_folder(run)) for one in batch]
        kept.sort(key=lambda one: one.modified_at)
        await self._objects.delete([one.key for one in kept[:-KEPT_SCANS]])


def _is_kept(run: RunRow) -> bool:
    return run.result_bytes > SMALL_BYTES


def _total(answer: bytes) -> int:
    return places_of(answer[: PLACE.size])[0].position


def _folder(run: RunRow) -> str:
    return f"{result_prefix(run.owner_id, run.id)}/{FOLDER}"


def _key(run: RunRow, request: ScanRequest) -> str:
    asked = hashlib.sha256(FORMAT + msgspec.json.encode(request)).hexdigest()[:32]
    return f"{_folder(run)}/{asked}"
