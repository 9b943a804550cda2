"""Limits the bytes of result rows that one GraphQL operation returns."""

import asyncio
from typing import Self
from uuid import UUID

from db.errors import TooLarge
from graph.context import Context

MIB = 1024 * 1024
MAX_PAGE_BYTES = 8 * MIB
MAX_OPERATION_BYTES = 32 * MIB


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
        """Returns up to `first` rows, each as a line of JSON; fewer if they are large.

        Raises:
            TooLarge: The operation has used up its budget.
        """
        async with self._lock, self._context.slot.large_reads:
            if self._bytes_left <= 0:
                raise TooLarge(
                    f"The operation requested more than {MAX_OPERATION_BYTES // MIB} MiB of rows.",
                    hint="Request fewer rows at once, or download the result with `downloadUrl`.",
                    field="first",
                )
            lines = await self._context.services.results.rows(
                self._context.owner,
                run_id,
                offset=offset,
                first=first,
                max_bytes=min(MAX_PAGE_BYTES, self._bytes_left),
            )
            self._bytes_left -= sum(map(len, lines))
            return lines
