"""A run that fails leaves none of its rows in memory, also between garbage collections."""

import asyncio
import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.objects.store import open_objects
from db.runs import PageRow
from db.workbench.results.spool import PAGE_BYTES, Chunk, Spool
from tests.fixtures.patience import patience


@pytest.fixture
def without_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collection")
async def test_abandoned_spool_keeps_no_rows(tmp_path: Path) -> None:
    """Eight runs that timed out kept 80 MB."""
    storing = asyncio.Event()

    async def flushed(_: PageRow) -> None:
        storing.set()
        await asyncio.Event().wait()

    spool = Spool(open_objects(None, data_dir=tmp_path), "runs/a", flushed)
    lines = [bytes(PAGE_BYTES), bytes(1_000)]
    before = [sys.getrefcount(one) for one in lines]
    await spool.add(Chunk(lines[0], 1))
    async with patience():
        await storing.wait()
    await spool.add(Chunk(lines[1], 1))
    await spool.abandon()
    await asyncio.sleep(0)
    assert [sys.getrefcount(one) for one in lines] == before
