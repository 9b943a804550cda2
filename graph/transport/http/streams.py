"""Answers that keep coming: server-sent events, and Apollo's multipart subscriptions.

Events follow the "distinct connections" mode of the GraphQL over SSE protocol.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, NoReturn

from starlette.types import Receive

from graph.operations import Answer
from graph.transport.http.accept import EVENT_STREAM, MULTIPART

HEARTBEAT_S = 12.0


class Format(NamedTuple):
    """How one kind of stream frames what it carries."""

    content_type: bytes
    opening: bytes
    before: bytes
    after: bytes
    heartbeat: bytes
    closing: bytes


FORMATS = {
    EVENT_STREAM: Format(
        content_type=b"text/event-stream; charset=utf-8",
        opening=b":\n\n",
        before=b"event: next\ndata: ",
        after=b"\n\n",
        heartbeat=b":\n\n",
        closing=b"event: complete\ndata: \n\n",
    ),
    MULTIPART: Format(
        content_type=b'multipart/mixed; boundary="-"; subscriptionSpec=1.0',
        opening=b"\r\n---",
        before=b'\r\ncontent-type: application/json\r\n\r\n{"payload":',
        after=b"}\r\n---",
        heartbeat=b"\r\ncontent-type: application/json\r\n\r\n{}\r\n---",
        closing=b"--\r\n",
    ),
}


class Stream:
    """One response that goes on until its answers, its client, its session or the server end."""

    def __init__(
        self, form: Format, *, write: Callable[[bytes], Awaitable[None]], receive: Receive
    ) -> None:
        self._form = form
        self._write = write
        self._receive = receive

    async def send(
        self,
        answers: AsyncGenerator[Answer],
        *,
        session_end: Coroutine[Any, Any, Answer],
        server_end: Coroutine[Any, Any, None],
    ) -> None:
        """Send all answers, or as many as there are until something else ends.

        Only an end of the answers or of the session is told the client: it connects again
        after any other.
        """
        async with contextlib.aclosing(answers):
            sent, session, *_ = await _until_first(
                self._send_all(answers), session_end, server_end, self._gone(), self._beat()
            )
        if session.done() and not session.cancelled():
            await self._next(session.result())
        elif sent.cancelled():
            return
        await self._write(self._form.closing)

    async def _send_all(self, answers: AsyncGenerator[Answer]) -> None:
        await self._write(self._form.opening)
        async for answer in answers:
            await self._next(answer)

    async def _next(self, answer: Answer) -> None:
        await self._write(self._form.before + answer.payload + self._form.after)

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _beat(self) -> NoReturn:
        """Proxies close what is silent."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await self._write(self._form.heartbeat)


async def _until_first(*works: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    """Run all until one is done; the others are cancelled, and the first error is raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
    return tasks
