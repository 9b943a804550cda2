"""Files of Parquet are read by a process with limited memory."""

from pathlib import Path

import duckdb
import pytest

from db.errors import BadInput, Unavailable
from db.kit.base import OwnerId, new_id
from db.workbench.copy import parquet_rows
from db.workbench.copy.parquet_rows import ParquetReaders

OWNER = OwnerId(new_id())


class File:
    """Bytes that can be read to a certain place only."""

    def __init__(self, path: Path, made: str) -> None:
        duckdb.sql(made).write_parquet(str(path), compression="zstd", row_group_size=10_000)
        self.content = path.read_bytes()
        self.failing = range(0)
        self.most = 0

    async def read(self, start: int, end: int) -> bytes:
        if start in self.failing:
            raise Unavailable("The object store failed.", hint="Retry later.")
        self.most = max(self.most, end - start)
        return self.content[start:end]

    async def rows(self, readers: ParquetReaders) -> bytes:
        size = len(self.content)
        names = await readers.names(OWNER, size, self.read)
        return b"".join([piece async for piece in readers.rows(OWNER, size, self.read, names)])


async def test_parquet_rows_are_read_by_ranges(tmp_path: Path) -> None:
    file = File(tmp_path / "a", "SELECT i AS a, md5(i::varchar) AS b FROM range(100000) t(i)")
    rows = (await file.rows(ParquetReaders())).splitlines()
    assert (len(rows), rows[0]) == (100_000, b"0\tcfcd208495d565ef66e7dff9f98764da")
    assert file.most == 512 * 1024
    assert len(file.content) > 2 * file.most


async def test_parquet_rows_end_with_error_of_the_store(tmp_path: Path) -> None:
    file = File(tmp_path / "a", "SELECT i AS a, md5(i::varchar) AS b FROM range(100000) t(i)")
    file.failing = range(1, len(file.content) - 512 * 1024)
    with pytest.raises(Unavailable):
        await file.rows(ParquetReaders())


async def test_parquet_file_that_needs_much_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_rows, "MEMORY_BYTES", 256 * 1024 * 1024)
    file = File(tmp_path / "a", "SELECT repeat('x', 2000000) AS a FROM range(150)")
    assert len(file.content) < 10_000
    readers = ParquetReaders()
    with pytest.raises(BadInput, match="needs more than 256 MiB"):
        await file.rows(readers)
    with pytest.raises(BadInput, match="cannot be read as Parquet"):
        await readers.names(OWNER, 5, file.read)
