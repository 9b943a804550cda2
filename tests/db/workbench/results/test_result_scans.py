# ruff: noqa: S608 - the statements are of this module
"""Sorted and filtered pages of large results: kept beside them, shared, bounded and deleted."""

import asyncio
import contextlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from db.errors import NotFound, TimedOut, TooLarge
from db.objects.store import ObjectStore
from db.row_scans.row_order import OrderRequest
from db.runs import RunRow
from db.workbench.result_cleanup import delete_orphaned_objects
from db.workbench.results.result_store import ResultStore, result_prefix
from db.workbench.results.scans import scanner
from db.workbench.results.scans.scan_requests import RowCondition, SortBy, order_request
from db.workbench.results.scans.scanned_results import FOLDER, KEPT_SCANS, ResultScans
from tests.fixtures.runs import Desk

ROWS = 200_000
LARGE = f"""SELECT i, md5(i::text) AS hash, nullif(i % 10, 0) AS digit
    FROM generate_series(1, {ROWS}) i"""


@pytest.fixture
def scans(desk: Desk, result_store: ObjectStore) -> ResultScans:
    return ResultScans(desk.server.results, result_store)


def order(run: RunRow, *sort: SortBy, conditions: tuple[RowCondition, ...] = ()) -> OrderRequest:
    return order_request(run.parsed_columns or [], sort, conditions)


async def page(
    desk: Desk, scans: ResultScans, run: RunRow, request: OrderRequest, *, offset: int = 0
) -> tuple[list[list[Any]], int]:
    places, total = await scans.places(run, request, offset=offset, first=100)
    lines = await desk.server.results.lines_at(desk.owner, run.id, places)
    rows = [msgspec.json.decode(line) for line in lines]
    assert [row[0] for row in rows] == [place.position + 1 for place in places]
    return rows, total


def kept(tmp_path: Path, run: RunRow) -> list[Path]:
    return [*(tmp_path / "objects").glob(f"runs/*/{run.id.hex}/{FOLDER}/*")]


async def test_pages_of_a_large_sorted_result_come_from_one_scan(
    desk: Desk, scans: ResultScans, result_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await desk.run(LARGE)
    sort = order(run, SortBy("digit", descending=True, nulls_first=False), SortBy("hash"))
    expected = await desk.run(
        f'SELECT * FROM ({LARGE}) t ORDER BY digit DESC NULLS LAST, hash COLLATE "C"'
    )
    both = await asyncio.gather(*(page(desk, scans, run, sort) for _ in range(2)))
    assert both[0] == both[1] == (await desk.rows(expected, first=100), ROWS)

    def refuse(*_: object) -> None:
        raise AssertionError("scanned again")

    results = ResultStore(desk.server.database, result_store)
    other_replica = ResultScans(results, result_store)
    for each in (scans, other_replica):
        monkeypatch.setattr(each.scanner, "scan", refuse)
        for offset in (100, 123_456, ROWS - 50, ROWS, ROWS + 5):
            found = await page(desk, each, run, sort, offset=offset)
            wanted = await desk.rows(expected, first=100, offset=offset) if offset < ROWS else []
            assert found == (wanted, ROWS)


async def test_filtered_rows_keep_their_order(desk: Desk, scans: ResultScans) -> None:
    run = await desk.run(LARGE)
    conditions = (RowCondition("hash", "STARTS_WITH", "00"), RowCondition("digit", "IS_NOT_NULL"))
    expected = await desk.run(
        f"SELECT * FROM ({LARGE}) t WHERE hash LIKE '00%' AND digit IS NOT NULL ORDER BY i"
    )
    found = await page(desk, scans, run, order(run, conditions=conditions), offset=50)
    assert found == (await desk.rows(expected, first=100, offset=50), expected.row_count)
    assert expected.row_count > 150


async def test_order_is_kept_a_few_times_and_deleted_with_the_result(
    desk: Desk, scans: ResultScans, tmp_path: Path
) -> None:
    run = await desk.run("SELECT i, repeat('x', 100) FROM generate_series(1, 5000) i")
    for number in range(KEPT_SCANS + 2):
        value = str(number)
        request = order(run, conditions=(RowCondition("i", "GREATER", value),))
        assert (await scans.places(run, request, offset=0, first=1)).total == 5_000 - number
    assert len(kept(tmp_path, run)) == KEPT_SCANS
    await desk.runner.delete(desk.owner, run.id)
    assert kept(tmp_path, run) == []


async def test_small_result_is_sorted_without_a_file(
    desk: Desk, scans: ResultScans, tmp_path: Path
) -> None:
    run = await desk.run("SELECT i, 3 - i FROM generate_series(1, 3) i")
    rows = await scans.places(run, order(run, SortBy("i", descending=True)), offset=1, first=5)
    assert ([place.position for place in rows.places], rows.total) == ([1, 0], 3)
    assert kept(tmp_path, run) == []


async def test_result_deleted_during_a_scan_is_not_found(
    desk: Desk, scans: ResultScans, result_store: ObjectStore, tmp_path: Path
) -> None:
    run = await desk.run(LARGE)
    request = order(run, SortBy("hash"))
    places = (await scans.places(run, request, offset=0, first=10)).places
    await desk.runner.delete(desk.owner, run.id)
    with pytest.raises(NotFound):
        await scans.places(run, request, offset=10, first=10)
    with pytest.raises(NotFound):
        await desk.server.results.lines_at(desk.owner, run.id, places)
    late = tmp_path / "objects" / result_prefix(desk.owner, run.id) / FOLDER / ("0" * 32)
    late.parent.mkdir(parents=True)
    late.write_bytes(b"of a scan that ended after the deletion")
    await delete_orphaned_objects(desk.server.database, result_store, after=timedelta(0))
    assert not late.exists()


async def test_scan_that_takes_too_long_ends_its_process(
    desk: Desk, scans: ResultScans, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await desk.run(LARGE)
    monkeypatch.setattr(scanner, "SCAN_S", 0.05)
    with pytest.raises(TimedOut) as raised:
        await scans.places(run, order(run, SortBy("hash")), offset=0, first=10)
    assert "ORDER BY" in raised.value.hint
    assert scans.scanner._slots.in_use == 0
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            assert "row_scans" not in " ".join(child.cmdline())


async def test_scan_beyond_its_memory_is_refused(
    desk: Desk, scans: ResultScans, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await desk.run(LARGE)
    monkeypatch.setattr(scanner, "MEMORY_BYTES", 40 * 1024 * 1024)
    with pytest.raises(TooLarge, match="40 MiB"):
        await scans.places(run, order(run, SortBy("hash")), offset=0, first=10)
