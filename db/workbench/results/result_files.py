"""Streams results as files, for downloads and for exports to buckets."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from db.concurrency.fair_slots import FairSlots
from db.errors import NotFound
from db.runs import RunRow
from db.workbench.results import parquet
from db.workbench.results.cells import content_of_cell, read_cell
from db.workbench.results.formats import encode_rows, require_format
from db.workbench.results.result_store import ResultStore

PIECE_BYTES = 256 * 1024
MAX_STREAMS = 32
MAX_STREAMS_PER_USER = 4
MAX_WAIT_S = 10.0


class ResultFiles:
    """Limits the number of concurrent streams, since each holds rows in memory."""

    def __init__(self, results: ResultStore) -> None:
        self._results = results
        self._slots = FairSlots(
            "exports and downloads",
            total=MAX_STREAMS,
            of_one_user=lambda: MAX_STREAMS_PER_USER,
            wait_s=MAX_WAIT_S,
        )

    async def stream(
        self, run: RunRow, format: str, *, spreadsheet_safe: bool = True
    ) -> AsyncGenerator[bytes]:
        """Yields the file of a finished run; raises NotFound at its end if rows are missing."""
        require_format(format)
        columns = run.parsed_columns
        if columns is None:
            raise result_not_found()
        async with self._slots.of(run.owner_id):
            row_bytes = await self._results.max_average_row_bytes(run.owner_id, run.id)
            group_rows = parquet.group_rows(
                rows=run.row_count, columns=len(columns), row_bytes=row_bytes
            )
            rows = self._rows(run)
            async with contextlib.aclosing(
                encode_rows(
                    format,
                    columns,
                    rows,
                    group_rows=group_rows,
                    spreadsheet_safe=spreadsheet_safe,
                )
            ) as pieces:
                async for piece in pieces:
                    yield piece

    async def cell(self, run: RunRow, row: int, column: int) -> AsyncGenerator[bytes]:
        """Yields the whole of a cell; raises NotFound if it is NULL or its row is missing."""
        columns = run.parsed_columns or []
        async with self._slots.of(run.owner_id):
            text = None
            if row < run.row_count and column < len(columns):
                text = await read_cell(self._results, run.owner_id, run.id, row=row, column=column)
            if text is None:
                raise result_not_found()
            content = await asyncio.to_thread(content_of_cell, columns[column], text)
            for start in range(0, len(content), PIECE_BYTES):
                yield content[start : start + PIECE_BYTES]

    async def _rows(self, run: RunRow) -> AsyncIterator[list[bytes]]:
        """Yields all rows; raises NotFound if the result is deleted during the download."""
        left = run.row_count
        async for lines in self._results.lines(run.owner_id, run.id):
            left -= len(lines)
            yield lines
        if left:
            raise result_not_found()


def result_not_found() -> NotFound:
    return NotFound(
        "This result does not exist.",
        hint="Run the statement again: it has expired or was deleted.",
    )
