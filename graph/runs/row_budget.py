"""Rows that an operation shows: so many bytes and no more, however many lists it asks for."""

import asyncio
from typing import Self
from uuid import UUID

from db.errors import TooLarge
from graph.context import Context

MIB = 1024 * 1024
PAGE_BYTES = 8 * MIB
OPERATION_BYTES = 32 * MIB


class RowsShown:
    """Those of one operation; one list after the other, since each may leave less for the next."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._left = OPERATION_BYTES
        self._reading = asyncio.Lock()

    @classmethod
    def of(cls, context: Context) -> Self:
        found: Self = context.loaders.setdefault(cls, cls(context))
        return found

    async def read(self, run_id: UUID, *, offset: int, first: int) -> list[bytes]:
        async with self._reading:
            if self._left <= 0:
                raise TooLarge(
                    f"This operation asks for more than {OPERATION_BYTES // MIB} MiB of rows.",
                    hint="Ask for fewer rows at once, or download the whole result.",
                    field="first",
                )
            lines = await self._context.services.runner.results.rows(
                self._context.owner,
                run_id,
                offset=offset,
                first=first,
                max_bytes=min(PAGE_BYTES, self._left),
            )
            self._left -= sum(map(len, lines))
            return lines
