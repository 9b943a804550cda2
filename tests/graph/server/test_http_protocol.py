"""What the HTTP protocol writes to its connection for the messages of a response."""

import asyncio
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.server import ServerState

from graph.server.http_protocol import HEAD_BYTES, ConnectionsByAddress, Protocol
from graph.transport.encoded_responses import responder
from graph.transport.gateway import Shutdown
from graph.transport.middleware.https_policy import HttpsPolicy
from tests.fixtures.patience import patience

JSON = (b"content-type", b"application/json")
LENGTH_2 = (b"content-length", b"2")


class Connection(asyncio.Transport):
    """Keeps each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.changed = asyncio.Event()
        self.closed = asyncio.Event()
        self.aborted = asyncio.Event()
        self.is_paused = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))
        self.changed.set()

    def is_closing(self) -> bool:
        return self.closed.is_set() or self.aborted.is_set()

    def pause_reading(self) -> None:
        """Takes a note only: the test decides what is read."""
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def abort(self) -> None:
        self.aborted.set()

    def close(self) -> None:
        self.closed.set()
        self.changed.set()


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def writes_of(*messages: Message, method: str = "POST") -> list[bytes]:
    """The writes of a response with these messages."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return await writes_by(app, method=method)


def connected(app: ASGIApp, connection: Connection) -> Protocol:
    config = uvicorn.Config(app, log_config=None)
    config.load()
    protocol = Protocol(
        config=config,
        server_state=ServerState(),
        app_state={},
        connections=ConnectionsByAddress(None),
        stopping=Shutdown(),
    )
    protocol.connection_made(connection)
    return protocol


async def writes_by(respond: ASGIApp, *, method: str = "POST", headers: str = "") -> list[bytes]:
    """The writes of an application for one request."""
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await respond(scope, receive, send)
        finally:
            ended.set()

    connection = Connection()
    protocol = connected(app, connection)
    protocol.data_received(f"{method} / HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    await ended.wait()
    await asyncio.gather(*protocol.tasks, return_exceptions=True)
    protocol.connection_lost(None)
    return connection.writes


async def test_response_of_known_length_is_one_write() -> None:
    (written,) = await writes_of(start(JSON, LENGTH_2), body(b"{}"))
    assert written == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    )


async def test_head_of_stream_is_written_before_its_body() -> None:
    head, first, last = await writes_of(start(JSON), body(b"a", more=True), body(b""))
    assert head.endswith(b"transfer-encoding: chunked\r\n\r\n")
    assert (first, last) == (b"1\r\na\r\n", b"0\r\n\r\n")


async def test_body_in_pieces_follows_its_head() -> None:
    head, *pieces = await writes_of(
        start((b"content-length", b"4")), body(b"ab", more=True), body(b"cd")
    )
    assert head == b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"
    assert pieces == [b"ab", b"cd"]


async def test_response_to_head_has_no_body() -> None:
    (head,) = await writes_of(start(LENGTH_2), body(b"{}"), method="HEAD")
    assert head.endswith(b"content-length: 2\r\n\r\n")


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\0b"])
async def test_header_with_control_characters_is_not_written(value: bytes) -> None:
    assert await writes_of(start((b"x-name", value), LENGTH_2), body(b"{}")) == []


async def test_body_longer_than_its_length_is_not_written() -> None:
    written = await writes_of(start(LENGTH_2), body(b"abc"))
    assert written == [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"]


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
async def test_encoded_response_is_one_write_unless_the_connection_closes(connection: str) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        cycle: Any = send.__self__  # type: ignore[attr-defined]  # uvicorn's `send` is a method
        if not cycle.respond(200, b"content-length: 2\r\n\r\n", b"{}"):
            await send(start(LENGTH_2))
            await send(body(b"[]"))

    written = b"".join(await writes_by(app, headers=f"Connection: {connection}\r\n"))
    if connection == "keep-alive":
        assert written == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    else:
        assert written.endswith(b"\r\nconnection: close\r\n\r\n[]")


@pytest.mark.parametrize(
    ("scheme", "policy"),
    [("https", b"strict-transport-security: max-age=60\r\n"), ("http", b"")],
)
async def test_encoded_response_has_the_policy_over_https(scheme: str, policy: bytes) -> None:
    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        send = HttpsPolicy(60).sender({**scope, "scheme": scheme}, send)
        respond = responder(send)
        assert respond is not None
        assert respond(200, b"content-length: 2\r\n\r\n", b"{}")

    (written,) = await writes_by(app)
    assert written == b"HTTP/1.1 200 OK\r\n%bcontent-length: 2\r\n\r\n{}" % policy


async def test_connection_closes_when_idle_and_not_during_a_later_request() -> None:
    go_on = asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await go_on.wait()
        await send(start(LENGTH_2))
        await send(body(b"{}"))

    connection = Connection()
    protocol = connected(app, connection)
    go_on.set()
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.gather(*protocol.tasks)
    first_timer = protocol.timeout_keep_alive_task
    assert first_timer is not None
    first_timer.cancel()
    go_on.clear()
    protocol.timeout_keep_alive = 0
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    protocol.timeout_keep_alive_handler()  # as the timer of the first response does
    assert not connection.closed.is_set()
    go_on.set()
    async with patience():
        await connection.closed.wait()
    assert b"".join(connection.writes).count(b"200 OK") == 2
    protocol.connection_lost(None)


async def test_head_is_measured_without_the_requests_before_it() -> None:
    """A client that pipelines sends the rest of a body and the next head in one piece."""
    ended = asyncio.Semaphore(0)

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        await send(start(LENGTH_2))
        await send(body(b"{}"))
        ended.release()

    size = HEAD_BYTES + 1
    connection = Connection()
    protocol = connected(app, connection)
    protocol.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
    protocol.data_received(b" " * size + b"GET / HTTP/1.1\r\n")
    protocol.data_received(b"Host: x\r\n\r\n")
    async with patience():
        await ended.acquire()
        await ended.acquire()
    assert b"".join(connection.writes).count(b"200 OK") == len(connection.writes) == 2
    protocol.connection_lost(None)


async def test_head_after_another_request_is_limited() -> None:
    go_on = asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await go_on.wait()

    connection = Connection()
    protocol = connected(app, connection)
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nX-Long: ")
    for _ in range(5):
        protocol.data_received(b"x" * (HEAD_BYTES // 4))
    assert connection.closed.is_set()
    assert connection.writes[-1].startswith(b"HTTP/1.1 431 ")
    go_on.set()
    await asyncio.gather(*protocol.tasks)
    protocol.connection_lost(None)
