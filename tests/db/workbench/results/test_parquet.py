"""Parquet files, read by DuckDB, whose reader shares no code with arro3."""

import asyncio
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from db.errors import Unavailable
from db.row_scans.type_oids import BOOL, FLOAT4, FLOAT8, INT2, INT4, NUMERIC, TEXT
from db.runs import Column
from db.workbench.results import record_batches
from db.workbench.results.formats import ResultFormat, encode_rows, require_format
from db.workbench.results.parquet import GROUP_BYTES, MOST_CHUNKS, group_rows
from db.workbench.results.record_batches import PIECE_BYTES
from tests.fixtures.patience import PATIENCE_S, patience

ROOT = Path(__file__).parents[4]


class Batches:
    """Rows in the format of results, and the number of batches consumed."""

    def __init__(self, *batches: list[list[Any]], failure: Exception | None = None) -> None:
        self.taken = 0
        self._batches = batches
        self._failure = failure

    async def lines(self) -> AsyncIterator[list[bytes]]:
        for batch in self._batches:
            self.taken += 1
            yield [json.dumps(row).encode() for row in batch]
        if self._failure is not None:
            raise self._failure


def columns(*given: tuple[str, int]) -> list[Column]:
    return [Column(name=name, type="", type_oid=oid) for name, oid in given]


async def read(
    folder: Path, kinds: list[Column], batches: Batches, *, group_rows: int = 1_000
) -> duckdb.DuckDBPyRelation:
    pieces = encode_rows(ResultFormat.PARQUET, kinds, batches.lines(), group_rows=group_rows)
    file = folder / "result.parquet"
    file.write_bytes(b"".join([piece async for piece in pieces]))
    return duckdb.read_parquet(str(file))


def the_writer_ends() -> bool:
    """The encoding thread is idle or has ended."""
    threads = [one for one in threading.enumerate() if one.name.startswith("parquet")]
    for thread in threads:
        thread.join(PATIENCE_S)
    return not any(thread.is_alive() for thread in threads)


def told(query: str, file: Path) -> list[tuple[Any, ...]]:
    found = duckdb.sql(query, params=[str(file)])
    assert found is not None
    return found.fetchall()


async def test_parquet_keeps_types_and_values(tmp_path: Path) -> None:
    kinds = columns(
        ("b", BOOL), ("s", INT2), ("i", INT4), ("r", FLOAT4), ("d", FLOAT8), ("n", NUMERIC)
    )
    rows: list[list[Any]] = [
        [True, -32768, 2147483647, "0.1", "5e-324", "1.10"],
        [False, 32767, -2147483648, "NaN", "-Infinity", "NaN"],
        [None, None, None, None, None, None],
        [True, 0, 0, "-0", "Infinity", "9" * 1_000],
        [True, 0, 0, "what a hostile server sends", 0.5, ""],
    ]
    found = await read(tmp_path, kinds, Batches(rows[:1], rows[1:]))
    assert [str(kind) for kind in found.types] == [
        *("BOOLEAN", "SMALLINT", "INTEGER"),
        *("DOUBLE", "DOUBLE", "VARCHAR"),
    ]
    first, second, third, fourth, fifth = found.fetchall()
    assert first == (True, -32768, 2147483647, 0.1, 5e-324, "1.10")
    assert second[:3] == (False, 32767, -2147483648)
    assert math.isnan(second[3])
    assert second[4:] == (-math.inf, "NaN")
    assert third == (None,) * 6
    assert fourth == (True, 0, 0, 0.0, math.inf, "9" * 1_000)
    assert math.copysign(1, fourth[3]) == -1
    assert math.isnan(fifth[3])
    assert fifth[4] == 0.5  # as builds before 0.1 have stored it


async def test_parquet_keeps_texts(tmp_path: Path) -> None:
    texts = ["", " ", "NULL", "'\"\\,;\r\n\t", "é🐘\u200f", "\x01\x7f", "x" * 3_000_000]
    found = await read(tmp_path, columns(("t", TEXT)), Batches([[text] for text in texts]))
    assert [row[0] for row in found.fetchall()] == texts


async def test_parquet_keeps_duplicate_and_odd_column_names(tmp_path: Path) -> None:
    names = ["a", "a", "a_2", "", "", "b.c", "?column?", "é 🐘"]
    kinds = columns(*((name, INT4) for name in names))
    found = await read(tmp_path, kinds, Batches([list(range(len(names)))]))
    _, *written_names = told("SELECT name FROM parquet_schema(?)", tmp_path / "result.parquet")
    assert [name for (name,) in written_names] == [
        "a",
        "a_3",
        "a_2",
        "",
        "_2",
        "b.c",
        "?column?",
        "é 🐘",
    ]
    assert found.fetchall() == [tuple(range(len(names)))]


async def test_parquet_without_rows_has_columns(tmp_path: Path) -> None:
    found = await read(tmp_path, columns(("i", INT4), ("t", TEXT)), Batches())
    assert (found.columns, found.fetchall()) == (["i", "t"], [])
    assert [str(kind) for kind in found.types] == ["INTEGER", "VARCHAR"]


async def test_parquet_without_columns_is_valid() -> None:
    pieces = encode_rows(ResultFormat.PARQUET, [], Batches([[], []]).lines(), group_rows=1)
    file = b"".join([piece async for piece in pieces])
    assert file[:4] == file[-4:] == b"PAR1"


async def test_parquet_groups_keep_row_order(tmp_path: Path) -> None:
    numbers = [[number, f"{number:x}"] for number in range(25_000)]
    batches = Batches(numbers[:1], numbers[1:12_345], [], numbers[12_345:])
    kinds = columns(("i", INT4), ("t", TEXT))
    found = await read(tmp_path, kinds, batches, group_rows=10_000)
    assert found.fetchall() == [tuple(row) for row in numbers]
    groups = told(
        "SELECT DISTINCT row_group_id, row_group_num_rows FROM parquet_metadata(?) ORDER BY 1",
        tmp_path / "result.parquet",
    )
    assert groups == [(0, 10_000), (1, 10_000), (2, 5_000)]


@pytest.mark.parametrize(
    ("rows", "columns", "row_bytes", "expected"),
    [
        (0, 5, 0, 1),
        (1_000_000, 5, 10, 1_000_000),
        (1_000_000, 5, 1_024, 16_384),
        (3_000_000, 1, 1_024, 16_384),
        (10, 1, 100_000_000, 1),
        (1_000_000, 2_000, 1_024, 100_000),
    ],
)
def test_group_rows_limits_bytes_and_chunks(
    rows: int, columns: int, row_bytes: int, expected: int
) -> None:
    found = group_rows(rows=rows, columns=columns, row_bytes=row_bytes)
    assert found == expected
    assert found * row_bytes <= GROUP_BYTES or rows / found * columns <= MOST_CHUNKS or found == 1


async def test_parquet_applies_backpressure() -> None:
    """Each batch is larger than a piece, and at most a few pieces are buffered."""
    batches = Batches(*([[os.urandom(PIECE_BYTES).hex()]] for _ in range(40)))
    pieces = encode_rows(ResultFormat.PARQUET, columns(("t", TEXT)), batches.lines(), group_rows=1)
    received = ahead = 0
    async for _ in pieces:
        received += 1
        await asyncio.sleep(0.005)  # the more it may run ahead
        ahead = max(ahead, batches.taken - received)
    assert batches.taken == 40
    assert ahead <= 6


async def test_parquet_abandoned_stream_ends_its_thread() -> None:
    waiting = asyncio.Event()

    async def never_ending() -> AsyncIterator[list[bytes]]:
        yield [b"[1]"]
        waiting.set()
        await asyncio.Event().wait()

    pieces = encode_rows(ResultFormat.PARQUET, columns(("i", INT4)), never_ending(), group_rows=1)
    first = asyncio.ensure_future(anext(pieces))
    await waiting.wait()
    first.cancel()
    await asyncio.wait({first})
    assert first.cancelled()
    await pieces.aclose()
    assert the_writer_ends()


async def test_parquet_raises_error_of_row_source() -> None:
    failure = Unavailable("The object store does not answer.", hint="None.")
    batches = Batches([[1]], failure=failure)
    pieces = encode_rows(ResultFormat.PARQUET, columns(("i", INT4)), batches.lines(), group_rows=1)
    with pytest.raises(Unavailable) as raised:
        [piece async for piece in pieces]
    assert raised.value is failure
    assert the_writer_ends()


async def test_parquet_raises_error_of_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise LookupError("a bug of ours")

    monkeypatch.setattr(record_batches, "_types", fail)
    pieces = encode_rows(
        ResultFormat.PARQUET, columns(("i", INT4)), Batches([[1]]).lines(), group_rows=1
    )
    async with patience():
        with pytest.raises(LookupError):
            await anext(pieces)
    assert the_writer_ends()


async def test_parquet_raises_for_mismatched_rows() -> None:
    batches = Batches(*([["no number"]] for _ in range(100)))
    pieces = encode_rows(ResultFormat.PARQUET, columns(("i", INT4)), batches.lines(), group_rows=1)
    async with patience():
        with pytest.raises(Exception, match="Data interface"):
            [piece async for piece in pieces]
    assert the_writer_ends()


@pytest.mark.parametrize("missing", ["arro3", "arro3.core", "arro3.io"])
def test_parquet_without_extra_hints_at_installation(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    require_format(ResultFormat.PARQUET)
    for name in [name for name in sys.modules if name.split(".")[0] == "arro3"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(Unavailable) as raised:
        require_format(ResultFormat.PARQUET)
    assert "howdah[parquet]" in raised.value.hint


MEMORY = """
import asyncio, json, os, resource, sys
from db.runs import Column
from db.workbench.results.formats import ResultFormat, encode_rows
from db.workbench.results.parquet import group_rows

async def repeated(page, count):
    for _ in range(count):
        yield page

async def through(page, count):
    texts = len(json.loads(page[0]))
    columns = [Column(name=f"c{number}", type="", type_oid=25) for number in range(texts)]
    group = group_rows(rows=count * len(page), columns=texts, row_bytes=len(page[0]))
    pieces = encode_rows(ResultFormat.PARQUET, columns, repeated(page, count), group_rows=group)
    return sum([len(piece) async for piece in pieces])

texts, cell, rows, pages = map(int, sys.argv[1:])
row = lambda: [os.urandom(cell // 2).hex() for _ in range(texts)]
page = [json.dumps(row()).encode() for _ in range(rows)]
asyncio.run(through([b'["warm"]'], 1))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
asyncio.run(through(page, pages))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(
    ("columns", "cell", "rows", "pages", "most_mib"),
    [(2, 500, 4_000, 128, 40), (1_600, 16, 150, 10, 100), (1, 1_000_000, 4, 50, 64)],
    ids=["half a GiB of rows", "as many columns as PostgreSQL has", "large cells"],
)
def test_parquet_memory_is_bounded(
    columns: int, cell: int, rows: int, pages: int, most_mib: int
) -> None:
    """Runs in its own process, because peak memory is measured per process."""
    numbers = [str(number) for number in (columns, cell, rows, pages)]
    command = [sys.executable, "-c", MEMORY, *numbers]
    grown = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603 - our own script
    assert int(grown.stdout) < most_mib * 1024, f"{grown.stdout} KiB"
