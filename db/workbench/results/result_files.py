"""Results as files: for whoever downloads them, and for what puts them into buckets."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from db.errors import NotFound
from db.kit.concurrency_limit import ConcurrencyLimit
from db.runs import RunRow
from db.workbench.results import parquet
from db.workbench.results.formats import refuse_unknown, written
from db.workbench.results.result_store import Results

AT_ONCE = 32
OF_ONE_USER = 4


class ResultFiles:
    """Writes results as files, so many at once: each holds some rows in memory."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._places = ConcurrencyLimit(
            "exports and downloads", at_once=AT_ONCE, of_one_user=OF_ONE_USER
        )

    @property
    def going(self) -> int:
        """How many are being written."""
        return self._places.in_use

    async def pieces(self, run: RunRow, format: str) -> AsyncGenerator[bytes]:
        """The file of a run that has ended, whole, or an error at the latest at its end."""
        refuse_unknown(format)
        columns = run.opened_columns
        if columns is None:
            raise gone()
        with self._places.slot(run.owner_id):
            heaviest = await self._results.heaviest_row(run.owner_id, run.id)
            group_rows = parquet.group_rows(
                rows=run.row_count, columns=len(columns), heaviest=heaviest
            )
            rows = self._whole(run)
            async with contextlib.aclosing(
                written(format, columns, rows, group_rows=group_rows)
            ) as pieces:
                async for piece in pieces:
                    yield piece

    async def _whole(self, run: RunRow) -> AsyncIterator[list[bytes]]:
        """All its rows: a result that is deleted meanwhile is no shorter one."""
        left = run.row_count
        async for lines in self._results.lines(run.owner_id, run.id):
            left -= len(lines)
            yield lines
        if left:
            raise gone()


def gone() -> NotFound:
    return NotFound("There is no such result.", hint="It has expired, or was deleted.")
