"""Streamed responses: server-sent events, and Apollo's multipart subscriptions.

Events follow the "distinct connections" mode of the GraphQL over SSE protocol;
`reserved_streams` has the other mode.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, NoReturn

from starlette.types import Receive

from db.concurrency.waiting import cancel_all
from graph.operations import Answer
from graph.transport.http.accept import EVENT_STREAM, MULTIPART

HEARTBEAT_S = 12.0


class StreamFormat(NamedTuple):
    """The bytes around the results of a stream."""

    content_type: bytes
    opening: bytes
    before: bytes
    after: bytes
    heartbeat: bytes
    closing: bytes


FORMATS = {
    EVENT_STREAM: StreamFormat(
        content_type=b"text/event-stream; charset=utf-8",
        opening=b":\n\n",
        before=b"event: next\ndata: ",
        after=b"\n\n",
        heartbeat=b":\n\n",
        closing=b"event: complete\ndata: \n\n",
    ),
    MULTIPART: StreamFormat(
        content_type=b'multipart/mixed; boundary="-"; subscriptionSpec=1.0',
        opening=b"\r\n---",
        before=b'\r\ncontent-type: application/json\r\n\r\n{"payload":',
        after=b"}\r\n---",
        heartbeat=b"\r\ncontent-type: application/json\r\n\r\n{}\r\n---",
        closing=b"--\r\n",
    ),
}


class Stream:
    """One streamed response. Ends with its results, its client, its session or the server."""

    def __init__(
        self,
        stream_format: StreamFormat,
        *,
        write: Callable[[bytes], Awaitable[None]],
        receive: Receive,
    ) -> None:
        self._format = stream_format
        self._write = write
        self._receive = receive

    async def send(
        self,
        answers: AsyncGenerator[Answer],
        *,
        session_end: Coroutine[Any, Any, Answer],
        server_end: Coroutine[Any, Any, None],
    ) -> None:
        """Sends results until the first of the awaited events ends the stream.

        The closing bytes follow only if the results or the session ended: without them the client
        reconnects.
        """
        async with contextlib.aclosing(answers):
            sent, session, *_ = await until_first(
                self._send_all(answers),
                session_end,
                server_end,
                _disconnected(self._receive),
                _send_heartbeats(self._write, self._format.heartbeat),
            )
        if session.done() and not session.cancelled():
            await self._next(session.result())
        elif sent.cancelled():
            return
        await self._write(self._format.closing)

    async def _send_all(self, answers: AsyncGenerator[Answer]) -> None:
        await self._write(self._format.opening)
        async for answer in answers:
            await self._next(answer)

    async def _next(self, answer: Answer) -> None:
        await self._write(self._format.before + answer.payload + self._format.after)


async def wait_for_end(
    write: Callable[[bytes], Awaitable[None]],
    receive: Receive,
    *,
    session_end: Coroutine[Any, Any, Answer],
    server_end: Coroutine[Any, Any, None],
) -> Answer | None:
    """Keeps an event stream alive until it ends; the answer that says why the session ended."""
    session, *_ = await until_first(
        session_end,
        server_end,
        _disconnected(receive),
        _send_heartbeats(write, FORMATS[EVENT_STREAM].heartbeat),
    )
    return session.result() if session.done() and not session.cancelled() else None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_heartbeats(write: Callable[[bytes], Awaitable[None]], heartbeat: bytes) -> NoReturn:
    """Sends heartbeats, because proxies close idle connections."""
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        await write(heartbeat)


async def until_first(*coroutines: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    """Runs all until the first is done, cancels the others, and raises the first error."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_all(tasks)
    for task in done:
        task.result()
    return tasks
