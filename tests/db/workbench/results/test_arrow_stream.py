"""Arrow IPC streams, read by the reader of arro3."""

import io
import json
import math
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from arro3.core import Table
from arro3.io import read_ipc_stream

from db.errors import BadInput, Unavailable
from db.row_scans.type_oids import BOOL, FLOAT4, FLOAT8, INT2, INT4, NUMERIC, TEXT
from db.runs import Column
from db.workbench.results.formats import ResultFormat, encode_rows, require_format

ROOT = Path(__file__).parents[4]


def columns(*given: tuple[str, int]) -> list[Column]:
    return [Column(name=name, type="", type_oid=oid) for name, oid in given]


async def read(kinds: list[Column], *batches: list[list[Any]]) -> Table:
    async def lines() -> AsyncIterator[list[bytes]]:
        for batch in batches:
            yield [json.dumps(row).encode() for row in batch]

    pieces = encode_rows(ResultFormat.ARROW, kinds, lines(), group_rows=1)
    return read_ipc_stream(io.BytesIO(b"".join([piece async for piece in pieces]))).read_all()


def rows_of(table: Table) -> list[tuple[Any, ...]]:
    columns: list[list[Any]] = [column.to_pylist() for column in table.columns]
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize("number", [2**31, 10**30])
async def test_integer_of_a_hostile_server_that_does_not_fit_is_an_error(number: int) -> None:
    with pytest.raises(BadInput, match="larger than its type"):
        await read(columns(("i", INT4)), [[1]], [[number]])


async def test_arrow_keeps_types_and_values() -> None:
    kinds = columns(
        ("b", BOOL), ("s", INT2), ("i", INT4), ("r", FLOAT4), ("d", FLOAT8), ("n", NUMERIC)
    )
    rows: list[list[Any]] = [
        [True, -32768, 2147483647, 0.1, 5e-324, "1.10"],
        [False, 32767, -2147483648, "NaN", "-Infinity", "NaN"],
        [None, None, None, None, None, None],
        [True, 0, 0, -0.0, "Infinity", "9" * 1_000],
    ]
    found = await read(kinds, rows[:1], [], rows[1:])
    types = ["Boolean", "Int16", "Int32", "Float64", "Float64", "LargeUtf8"]
    for column, name in zip(found.columns, types, strict=True):
        assert name in str(column.type)
    first, second, third, fourth = rows_of(found)
    assert first == tuple(rows[0])
    assert second[:3] == (False, 32767, -2147483648)
    assert math.isnan(second[3])
    assert second[4:] == (-math.inf, "NaN")
    assert third == (None,) * 6
    assert fourth == (True, 0, 0, 0.0, math.inf, "9" * 1_000)
    assert math.copysign(1, fourth[3]) == -1


async def test_arrow_keeps_texts_and_row_order() -> None:
    texts = ["", " ", "NULL", "'\"\\,;\r\n\t", "é🐘\u200f", "\x01\x7f", "x" * 3_000_000]
    texts += [str(number) for number in range(60_000)]
    rows = [[text] for text in texts]
    found = await read(columns(("t", TEXT)), rows[:10], rows[10:])
    assert [text for (text,) in rows_of(found)] == texts


async def test_arrow_numbers_duplicate_names_and_keeps_columns_without_rows() -> None:
    found = await read(columns(("a", INT4), ("a", TEXT), ("?column?", BOOL)))
    assert (found.schema.names, found.num_rows) == (["a", "a_2", "?column?"], 0)


def test_arrow_without_extra_hints_at_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    require_format(ResultFormat.ARROW)
    for name in [name for name in sys.modules if name.split(".")[0] == "arro3"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "arro3", None)
    with pytest.raises(Unavailable, match="Arrow is not available") as raised:
        require_format(ResultFormat.ARROW)
    assert "howdah[parquet]" in raised.value.hint


MEMORY = """
import asyncio, json, os, resource
from db.runs import Column
from db.workbench.results.formats import ResultFormat, encode_rows

async def repeated(page, count):
    for _ in range(count):
        yield page

async def through(page, count):
    columns = [Column(name=name, type="", type_oid=25) for name in "ab"]
    pieces = encode_rows(ResultFormat.ARROW, columns, repeated(page, count), group_rows=1)
    return sum([len(piece) async for piece in pieces])

page = [json.dumps([os.urandom(250).hex()] * 2).encode() for _ in range(4_000)]
asyncio.run(through(page[:1], 1))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert asyncio.run(through(page, 128)) > 500_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_arrow_memory_is_bounded() -> None:
    """Half a GiB of rows. Runs in its own process, because peak memory is measured per process."""
    command = [sys.executable, "-c", MEMORY]
    grown = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603 - our own script
    assert int(grown.stdout) < 40 * 1024, f"{grown.stdout} KiB"
