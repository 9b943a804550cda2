"""Large requests of one sender wait before they are decoded, which takes 24 times their size."""

import asyncio
import json
from typing import Any

import httpx
import pytest
import websockets

from db.concurrency.fair_slots import FairSlots
from graph.transport.limits import large_requests
from graph.transport.limits.large_requests import (
    LARGE_CHARACTERS,
    MAX_BYTES,
    LargeRequests,
    MemoryLease,
)
from tests.fixtures.clients import SUBPROTOCOL
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.toy import ToyServer, client_of

LARGE: dict[str, Any] = {"value": [{}] * LARGE_CHARACTERS}
ECHO = "query ($value: JSON!) { echo(value: $value) }"
WAIT = "query ($value: JSON!) { echo(value: $value) wait }"
ANN = {"authorization": "Bearer ann"}


class Leases:
    """Those that the server has given, and the memory that is in use."""

    def __init__(self) -> None:
        self.given = 0
        self.slots: FairSlots | None = None
        self.changed = asyncio.Event()

    @property
    def in_use(self) -> int:
        return self.slots.in_use if self.slots else 0

    async def until(self, *, is_used: bool) -> None:
        async with patience():
            while (self.in_use > 0) is not is_used:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
def leases(monkeypatch: pytest.MonkeyPatch) -> Leases:
    leases, lease, release = Leases(), LargeRequests.lease, MemoryLease.release

    async def noted(requests: LargeRequests, *values: Any) -> MemoryLease:
        given = await lease(requests, *values)
        leases.given, leases.slots = leases.given + 1, requests._slots
        leases.changed.set()
        return given

    def ended(given: MemoryLease, _: object = None) -> None:
        release(given)
        leases.changed.set()

    monkeypatch.setattr(LargeRequests, "lease", noted)
    monkeypatch.setattr(MemoryLease, "release", ended)
    return leases


async def test_large_requests_of_one_sender_wait_for_each_other() -> None:
    requests, commas = LargeRequests(), 330_000
    at_once = MAX_BYTES // (1_000_000 + commas * 128)
    held = [await requests.lease("flood", 1_000_000, commas) for _ in range(at_once)]
    waiting = [asyncio.create_task(requests.lease("flood", 1_000_000, commas)) for _ in range(2)]
    (await requests.lease("other", 1_000_000, commas)).release()
    await asyncio.sleep(0)
    assert at_once < 10
    assert [task.done() for task in waiting] == [False, False]
    held[0].release()
    held[0].release()  # has no effect
    async with patience():
        await waiting[0]
    await asyncio.sleep(0)
    assert not waiting[1].done()
    held[1].release()
    async with patience():
        await waiting[1]


async def test_texts_wait_less_than_many_values() -> None:
    requests = LargeRequests()
    async with patience():
        for _ in range(100):
            await requests.lease("editor", 1_000_000, 1_000)
        for _ in range(1_000):
            await requests.lease("many editors", 10_000, 1_000)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (json.dumps({"query": ECHO, "variables": LARGE}), 200),
        (json.dumps({"query": "{ nothing }", "variables": LARGE}), 422),
        ("{" * LARGE_CHARACTERS, 400),
    ],
)
async def test_http_request_holds_memory_until_its_end(
    toy_server: ToyServer, leases: Leases, content: str, status: int
) -> None:
    async with client_of(toy_server) as http:
        headers = {"content-type": "application/json"}
        small = await http.post("/graphql", json={"query": "{ hello }"})
        assert (small.status_code, leases.given) == (200, 0)
        answer = await http.post("/graphql", content=content, headers=headers)
    await leases.until(is_used=False)
    assert (answer.status_code, leases.given) == (status, 1)


async def test_socket_holds_memory_until_the_operation_ends(
    toy_server: ToyServer, leases: Leases
) -> None:
    address = f"ws://{toy_server.address}/graphql"
    async with websockets.connect(
        address, subprotocols=[SUBPROTOCOL], open_timeout=PATIENCE_S
    ) as socket:
        await socket.send('{"type": "connection_init"}')
        await socket.recv()
        payload = {"query": WAIT, "variables": LARGE}
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
        await leases.until(is_used=True)
        await socket.send('{"type": "complete", "id": "1"}')
        await leases.until(is_used=False)
        await socket.send(json.dumps({"type": "subscribe", "id": "2", "payload": payload}))
        await leases.until(is_used=True)
    await leases.until(is_used=False)
    assert leases.given == 2


async def test_large_message_that_is_none_holds_no_memory(
    toy_server: ToyServer, leases: Leases
) -> None:
    address = f"ws://{toy_server.address}/graphql"
    async with websockets.connect(
        address, subprotocols=[SUBPROTOCOL], open_timeout=PATIENCE_S
    ) as socket:
        await socket.send("[" * LARGE_CHARACTERS)
        await socket.wait_closed()
    await leases.until(is_used=False)
    assert (socket.close_code, leases.given) == (4400, 1)


async def test_event_stream_holds_memory_until_the_operation_ends(
    toy_server: ToyServer, leases: Leases
) -> None:
    async with client_of(toy_server) as http:
        token = (await http.put("/graphql", headers=ANN)).text
        named = ANN | {"x-graphql-event-stream-token": token}
        events = named | {"accept": "text/event-stream"}
        async with http.stream("GET", "/graphql", headers=events) as stream:
            lines = stream.aiter_lines()  # closes the stream when it is collected as garbage
            await anext(lines)
            request = {"query": WAIT, "variables": LARGE, "extensions": {"operationId": "1"}}
            assert (await _post(http, request, named)).status_code == 202
            assert leases.in_use > 0
            await http.delete("/graphql?operationId=1", headers=named)
            await leases.until(is_used=False)
            refused = await _post(http, request | {"extensions": {}}, named)
    assert refused.status_code == 422
    assert (leases.in_use, leases.given) == (0, 2)


class Bodies:
    """The memory of the bodies that the server receives."""

    slots: FairSlots

    async def until(self, *, waiting: int, in_use: int) -> None:
        async with patience():
            while (self.slots.users_waiting, self.slots.in_use) != (waiting, in_use):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0)


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> Bodies:
    bodies, opened = Bodies(), LargeRequests.__init__

    def noted(requests: LargeRequests) -> None:
        opened(requests)
        bodies.slots = requests._bodies

    monkeypatch.setattr(large_requests, "MAX_BODY_BYTES", 1_000_000)
    monkeypatch.setattr(LargeRequests, "__init__", noted)
    return bodies


class SlowRequest:
    """A request for `{ hello }` that is complete when `end` is called."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def begin(cls, server: ToyServer, size: int, *, source: str) -> "SlowRequest":
        host, port = server.address.split(":")
        begun = cls(*await asyncio.open_connection(host, int(port), local_addr=(source, 0)))
        head = f"POST /graphql HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        body = json.dumps({"query": "{ hello }"}).encode()
        begun.writer.write(f"{head}Content-Length: {size}\r\n\r\n".encode() + body)
        begun._rest = size - len(body)
        return begun

    async def end(self) -> bytes:
        self.writer.write(b" " * self._rest)
        async with patience():
            line = await self.reader.readline()
        self.writer.close()
        return line

    _rest = 0


async def test_client_that_stalls_delays_large_bodies_of_its_own_network_only(
    bodies: Bodies, toy_server: ToyServer
) -> None:
    stalled = await SlowRequest.begin(toy_server, 900_000, source="127.0.0.1")
    await bodies.until(waiting=0, in_use=879)
    waiting = await SlowRequest.begin(toy_server, 900_000, source="127.0.0.1")
    await bodies.until(waiting=1, in_use=879)
    for size, source in ((900_000, "127.0.0.2"), (LARGE_CHARACTERS - 1, "127.0.0.1")):
        request = await SlowRequest.begin(toy_server, size, source=source)
        assert (await request.end()).startswith(b"HTTP/1.1 200 ")
    stalled.writer.close()
    assert (await waiting.end()).startswith(b"HTTP/1.1 200 ")
    await bodies.until(waiting=0, in_use=0)


async def _post(
    http: httpx.AsyncClient, request: dict[str, Any], headers: dict[str, str]
) -> httpx.Response:
    return await http.post("/graphql", json=request, headers=headers)
