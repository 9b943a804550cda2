"""Encodes results as Parquet. Memory use is one row group, whatever the size of the result."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from db.workbench.results.record_batches import encode, require_arro3

if TYPE_CHECKING:
    from arro3.core import RecordBatchReader

ZSTD_COLUMNS = 200
"""Wider results use snappy: zstd keeps 100 KB of state for each column."""
GROUP_BYTES = 16 * 1024 * 1024
MOST_CHUNKS = 20_000
"""Most column chunks of a file. The footer, held in memory, describes each of them."""


def group_rows(*, rows: int, columns: int, row_bytes: int) -> int:
    """Rows of a group of about GROUP_BYTES; `row_bytes` is the size of one row."""
    groups = min(rows * row_bytes / GROUP_BYTES, MOST_CHUNKS / max(columns, 1))
    return max(1, int(rows / max(groups, 1)))


def encode_parquet(
    names: Sequence[str],
    oids: Sequence[int],
    batches: AsyncIterator[list[bytes]],
    *,
    group_rows: int,
) -> AsyncGenerator[bytes]:
    """Yields the file in pieces. `oids` are the PostgreSQL types of the columns."""
    require_arro3("Parquet")

    def write(reader: "RecordBatchReader", file: Any) -> None:
        from arro3.io import write_parquet

        write_parquet(
            reader,
            file,
            compression="zstd(1)" if len(names) <= ZSTD_COLUMNS else "snappy",
            created_by="Howdah",
            max_row_group_size=group_rows,
            skip_arrow_metadata=True,
        )

    return encode(write, names, oids, batches)
