"""Responses that a client does not read are limited for each user, downloads for each network."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import pytest

from db.errors import Overloaded
from graph.transport.files import file_routes
from graph.transport.limits import unread_responses
from graph.transport.limits.unread_responses import LARGE_BYTES, MAX_BYTES, UnreadResponses
from tests.fixtures.patience import patience
from tests.fixtures.toy import ToyServer
from tests.security.test_anonymous import close
from tests.security.test_socket_frames import HANDSHAKE, INIT, TEXT, frame

_FIELDS = " ".join(f"a{number}: echo(value: $value)" for number in range(40))
ECHO = {
    "query": f"query ($value: JSON!) {{ {_FIELDS} }}",
    "variables": {"value": "x" * 900_000},
}
"""36 MB: more than what the buffers of a local connection hold."""


def test_reader_has_a_limit_of_its_own() -> None:
    unread = UnreadResponses()
    with unread.writing("slow", MAX_BYTES):
        with pytest.raises(Overloaded), unread.writing("slow", LARGE_BYTES):
            pass
        with unread.writing("other", LARGE_BYTES):
            pass
    with unread.writing("slow", LARGE_BYTES):
        pass
    assert not unread._bytes  # it remembers no reader for ever


class Written:
    """The bytes of large responses that are being written."""

    def __init__(self) -> None:
        self.count = 0
        self.changed = asyncio.Event()

    async def until(self, count: int) -> None:
        async with patience():
            while self.count != count:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    written, writing = Written(), UnreadResponses.writing

    @contextlib.contextmanager
    def noted(unread: UnreadResponses, reader: Any, size: int) -> Iterator[None]:
        with writing(unread, reader, size):
            written.count += 1
            written.changed.set()
            try:
                yield
            finally:
                written.count -= 1
                written.changed.set()

    monkeypatch.setattr(UnreadResponses, "writing", noted)
    monkeypatch.setattr(unread_responses, "MAX_BYTES", 40_000_000)
    return written


@contextlib.asynccontextmanager
async def asking(server: ToyServer, accept: str) -> AsyncIterator[asyncio.StreamReader]:
    """A client that reads what the test reads."""
    host, _, port = server.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1_024)
    content = json.dumps(ECHO).encode()
    head = "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Accept: {accept}\r\nContent-Length: {len(content)}\r\n\r\n".encode())
    writer.write(content)
    try:
        yield reader
    finally:
        await close(writer)


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_unread_response_counts_until_it_is_read(
    toy_server: ToyServer, written: Written, accept: str
) -> None:
    async with asking(toy_server, accept) as slow:
        await written.until(1)
        async with asking(toy_server, "application/json") as refused, patience():
            assert (await refused.readline()).startswith(b"HTTP/1.1 503 ")
        received = 0
        async with patience():
            while received < 36_000_000:
                received += len(await slow.read(1_000_000))
        await written.until(0)
        async with asking(toy_server, "application/json") as answered, patience():
            assert (await answered.readline()).startswith(b"HTTP/1.1 200 ")
    await written.until(0)


async def test_unread_result_of_a_socket_counts_until_the_socket_ends(
    toy_server: ToyServer, written: Written
) -> None:
    host, _, port = toy_server.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1_024)
    async with patience():
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        message = json.dumps({"type": "subscribe", "id": "1", "payload": ECHO}).encode()
        head = bytes([0x81, 0xFF]) + len(message).to_bytes(8, "big") + bytes(4)
        writer.write(frame(TEXT, INIT) + head + message)
    await written.until(1)
    await close(writer)
    await written.until(0)


async def test_downloads_of_one_network_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(file_routes, "DOWNLOADS_OF_ONE_NETWORK", 2)
    slots = file_routes.make_slots()

    async def file() -> AsyncGenerator[bytes]:
        yield b"first"
        yield b"last"

    opened = [file_routes.in_slot(slots, "flood", file()) for _ in range(3)]
    for download in opened[:2]:
        await anext(download)
    waiting = asyncio.create_task(anext(opened[2]))
    async with patience():
        assert await anext(file_routes.in_slot(slots, "other", file())) == b"first"
        await asyncio.sleep(0)
        assert not waiting.done()
        await opened[0].aclose()  # as when the client leaves
        assert await waiting == b"first"
        assert [piece async for piece in opened[1]] == [b"last"]
        await opened[2].aclose()
