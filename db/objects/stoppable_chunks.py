"""The bytes of an upload, which can be stopped while obstore reads them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable

from db.concurrency.waiting import drop_error


class StoppableChunks:
    """An iterator that another task can end with an error."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.passed = 0
        """Bytes."""
        self._chunks = chunks
        self._step: asyncio.Future[bytes] | None = None
        self._stopped = False

    def __aiter__(self) -> "StoppableChunks":
        return self

    async def __anext__(self) -> bytes:
        if self._stopped:
            raise InterruptedError
        self._step = asyncio.ensure_future(anext(self._chunks))
        try:
            chunk = await self._step
        except asyncio.CancelledError:
            raise InterruptedError from None
        self.passed += len(chunk)
        return chunk

    async def send_by(self, upload: Awaitable[object]) -> None:
        """Awaits an upload that reads these chunks. A cancellation lets the store abort it."""
        sending = asyncio.ensure_future(upload)
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            self._stop()  # a cancel alone does not end the upload
            sending.add_done_callback(drop_error)
            await asyncio.wait([sending])
            raise

    def _stop(self) -> None:
        self._stopped = True
        if self._step is not None:
            self._step.cancel()
