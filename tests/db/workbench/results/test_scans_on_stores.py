"""Sorted pages and cut cells on every object store."""

import msgspec
import pytest

from db.objects.store import ObjectStore
from db.workbench.results.cells import CutCell, collect_rows, read_cell, rows_at, rows_between
from db.workbench.results.scans.scan_requests import SortBy, order_request
from db.workbench.results.scans.scanned_results import ResultScans
from tests.fixtures.runs import Desk


@pytest.fixture
def result_store(objects: ObjectStore) -> ObjectStore:
    return objects


async def test_sorted_page_with_cut_cells(desk: Desk, result_store: ObjectStore) -> None:
    """Several pages of a few MiB, of which the sorted page takes some rows each."""
    run = await desk.run(
        """SELECT i, repeat(chr(97 + i % 26), CASE WHEN i % 100 = 0 THEN 400000 ELSE 10 END)
           FROM generate_series(0, 3999) i"""
    )
    results = desk.server.results
    request = order_request(run.parsed_columns or [], [SortBy("repeat"), SortBy("i")], [])
    expected = sorted(
        (chr(97 + i % 26) * (400_000 if i % 100 == 0 else 10), i) for i in range(4_000)
    )
    for _ in range(2):  # scanned, then kept
        scans = ResultScans(results, result_store)
        places, total = await scans.places(run, request, offset=100, first=200)
        rows = rows_at(results, desk.owner, run.id, places)
        found = await collect_rows(rows, max_bytes=2**20, show=None, max_cell=9)
        shown = [msgspec.json.decode(line) for line in found.lines]
        assert shown == [[i, text[:9]] for text, i in expected[100:300]]
        assert found.positions == [i for _, i in expected[100:300]]
        assert found.cut_cells == [CutCell(i, 1, len(text)) for text, i in expected[100:300]]
        assert total == 4_000
    between = rows_between(results, desk.owner, run.id, 1_999, 2_002)
    found = await collect_rows(between, max_bytes=2**20, show=None, max_cell=None)
    assert found.positions == [1_999, 2_000, 2_001]
    cell = await read_cell(results, desk.owner, run.id, row=2_000, column=1)
    assert cell == chr(97 + 2_000 % 26).encode() * 400_000
