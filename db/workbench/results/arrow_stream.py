"""Encodes results as an Arrow IPC stream, a record batch at a time."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from db.workbench.results.record_batches import encode, require_arro3

if TYPE_CHECKING:
    from arro3.core import RecordBatchReader


def encode_arrow(
    names: Sequence[str], oids: Sequence[int], batches: AsyncIterator[list[bytes]]
) -> AsyncGenerator[bytes]:
    """Yields the stream in pieces, without compression: readers in browsers have none."""
    require_arro3("Arrow")

    def write(reader: "RecordBatchReader", file: Any) -> None:
        from arro3.io import write_ipc_stream

        write_ipc_stream(reader, file)

    return encode(write, names, oids, batches)
