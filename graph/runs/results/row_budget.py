"""Limits the bytes of result rows that one GraphQL operation returns."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import NamedTuple, Self
from uuid import UUID

from db.errors import TooLarge
from db.runs import RunRow
from db.workbench.results.cells import RowSlice, collect_rows, read_cell
from db.workbench.results.numbers import Show
from graph.context import Context

MIB = 1024 * 1024
MAX_PAGE_BYTES = 8 * MIB
MAX_OPERATION_BYTES = 32 * MIB


class CellRow(NamedTuple):
    """`text` is the beginning of the cell if it is not complete."""

    run: RunRow
    row: int
    column: int
    text: str | None
    size_bytes: int | None
    is_complete: bool


class RowBudget:
    """Reads pages one after the other, because each one reduces what is left for the next."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._bytes_left = MAX_OPERATION_BYTES
        self._lock = asyncio.Lock()

    @classmethod
    def of(cls, context: Context) -> Self:
        """Returns the budget of the operation."""
        budget: Self = context.loaders.setdefault(cls, cls(context))
        return budget

    async def read(self, run_id: UUID, *, offset: int, first: int) -> list[bytes]:
        """Returns up to `first` rows, each as a stored line of JSON; fewer if they are large.

        Raises:
            TooLarge: The operation has used up its budget.
            Overloaded: The operations of the user hold too much.
        """
        async with self._lock, self._context.slot.large_read_share:
            max_bytes = self._next_page_bytes()
            lines = await self._context.services.results.rows(
                self._context.owner,
                run_id,
                offset=offset,
                first=first,
                max_bytes=max_bytes,
            )
            self._spend(sum(map(len, lines)))
            return lines

    async def collect(
        self,
        batches: AsyncGenerator[list[tuple[int, bytes]]],
        *,
        show: Show | None,
        max_cell: int | None,
    ) -> RowSlice:
        """Like `read`, of rows with their positions, as clients see them.

        Cells are cut to `max_cell` bytes.
        """
        async with self._lock, self._context.slot.large_read_share, contextlib.aclosing(batches):
            found = await collect_rows(
                batches, max_bytes=self._next_page_bytes(), show=show, max_cell=max_cell
            )
            self._spend(sum(map(len, found.lines)))
            return found

    async def cell(self, run: RunRow, *, row: int, column: int, max_bytes: int) -> CellRow:
        """A cell with at most `max_bytes` of its text."""
        async with self._lock, self._context.slot.large_read_share:
            most = min(max_bytes, self._next_page_bytes())
            text = await read_cell(
                self._context.services.results,
                self._context.owner,
                run.id,
                row=row,
                column=column,
            )
            if text is None:
                return CellRow(run, row, column, None, None, is_complete=True)
            self._spend(min(len(text), most))
            start = text if len(text) <= most else text[:most]
            shown = start.decode(errors="ignore")
            return CellRow(run, row, column, shown, len(text), is_complete=len(text) <= most)

    def _spend(self, size: int) -> None:
        self._bytes_left -= size
        self._context.slot.hold(size)

    def _next_page_bytes(self) -> int:
        if self._bytes_left <= 0:
            raise TooLarge(
                f"The operation requested more than {MAX_OPERATION_BYTES // MIB} MiB of rows.",
                hint="Request fewer rows at once, or download the result with `downloadUrl`.",
                field="first",
            )
        self._context.slot.require_room()
        return min(MAX_PAGE_BYTES, self._bytes_left)
