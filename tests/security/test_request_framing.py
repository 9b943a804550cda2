"""The parts of an HTTP request that are no content cost a client as much as the server."""

import asyncio

import pytest
from starlette.types import Receive, Scope, Send

from graph.server.http_protocol import FRAMING_BYTES, HEAD_BYTES, MAX_HEADERS, MAX_PIPELINED
from tests.fixtures.patience import patience
from tests.graph.server.test_http_protocol import LENGTH_2, Connection, body, connected, start

CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Real: a\r\n\r\n2\r\n{}\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class App:
    """Answers each request when it is let go on, and keeps its scope."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.disconnected = 0
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.began.set()
        while (message := await receive()).get("more_body"):
            pass
        if not self.go_on.is_set():
            message = await receive()
        self.disconnected += message["type"] == "http.disconnect"
        await send(start(LENGTH_2))
        await send(body(b"{}"))


@pytest.mark.parametrize("size", [1, 1_000])
async def test_trailer_replaces_no_header(size: int) -> None:
    """In one piece with the head, trailers come before the application looks at the headers."""
    app, connection = App(), Connection()
    app.go_on.set()
    protocol = connected(app, connection)
    request = CHUNKED + b"0\r\nX-Real: b\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
    for at in range(0, len(request), size):
        protocol.data_received(request[at : at + size])
    await asyncio.gather(*protocol.tasks)
    protocol.data_received(GET)
    await asyncio.gather(*protocol.tasks)
    first, second = (dict(scope["headers"]) for scope in app.scopes)
    assert first == {b"transfer-encoding": b"chunked", b"x-real": b"a"}
    assert second == {b"host": b"x"}
    protocol.connection_lost(None)


@pytest.mark.parametrize("piece", [b"1\r\n \r\n", b"a: b\r\n", b"a", b"1;a=b\r\n \r\n"])
async def test_body_of_framing_is_refused(piece: bytes) -> None:
    """Chunks of one byte, many trailers, an endless one, and extensions of chunks."""
    app, connection = App(), Connection()
    protocol = connected(app, connection)
    protocol.data_received(CHUNKED)
    if piece in {b"a: b\r\n", b"a"}:
        protocol.data_received(b"0\r\n")
    sent = 0
    while not connection.closed.is_set() and sent < 3 * FRAMING_BYTES:
        protocol.data_received(piece * 1_000)
        sent += len(piece) * 1_000
    assert connection.closed.is_set()
    assert connection.writes[0].startswith(b"HTTP/1.1 400 ")
    protocol.connection_lost(None)
    await asyncio.gather(*protocol.tasks)


async def test_body_in_large_chunks_is_received() -> None:
    app, connection = App(), Connection()
    app.go_on.set()
    protocol = connected(app, connection)
    protocol.data_received(CHUNKED)
    for _ in range(3):
        protocol.data_received(b"400\r\n%b\r\n" % bytes(1_024) * 64)
    protocol.data_received(b"0\r\n\r\n")
    await asyncio.gather(*protocol.tasks)
    assert connection.writes[0].startswith(b"HTTP/1.1 200 ")
    protocol.connection_lost(None)


async def test_requests_that_wait_for_a_response_are_limited() -> None:
    app, connection = App(), Connection()
    protocol = connected(app, connection)
    protocol.data_received(GET * (MAX_PIPELINED + 1))
    assert not connection.aborted.is_set()
    protocol.data_received(GET)
    assert connection.aborted.is_set()
    async with patience():
        await asyncio.gather(*protocol.tasks)
    assert connection.writes == []  # it would be taken for the response to another request
    protocol.connection_lost(None)


async def test_request_before_others_learns_that_its_client_has_gone() -> None:
    app, connection = App(), Connection()
    protocol = connected(app, connection)
    protocol.data_received(GET * 3)
    async with patience():
        await app.began.wait()
        protocol.connection_lost(None)
        await asyncio.gather(*protocol.tasks)
    assert (app.disconnected, connection.writes) == (1, [])


async def test_headers_of_a_request_are_limited_in_number() -> None:
    app, connection = App(), Connection()
    app.go_on.set()
    protocol = connected(app, connection)
    protocol.data_received(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * MAX_HEADERS + b"\r\n")
    await asyncio.gather(*protocol.tasks)
    protocol.data_received(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (MAX_HEADERS + 1) + b"\r\n")
    answered, refused = connection.writes
    assert answered.startswith(b"HTTP/1.1 200 ")
    assert refused.startswith(b"HTTP/1.1 431 ")
    assert len(app.scopes) == 1
    protocol.connection_lost(None)


async def test_head_after_a_large_read_is_limited() -> None:
    """Each piece of a read is measured by itself."""
    app, connection = App(), Connection()
    protocol = connected(app, connection)
    protocol.data_received(GET + b"GET / HTTP/1.1\r\na: " + b"b" * 3 * HEAD_BYTES)
    assert connection.closed.is_set()
    protocol.connection_lost(None)
    await asyncio.gather(*protocol.tasks)
