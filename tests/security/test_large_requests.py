"""Large requests of one sender wait before they are decoded, which takes 24 times their size."""

import asyncio
import json
from typing import Any

import httpx
import pytest
import websockets

from db.concurrency.fair_slots import FairSlots
from graph.transport.large_requests import LARGE_CHARACTERS, MAX_BYTES, LargeRequests, MemoryLease
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
    waiting = asyncio.create_task(requests.lease("flood", 1_000_000, commas))
    (await requests.lease("other", 1_000_000, commas)).release()
    assert at_once < 10
    assert not waiting.done()
    held[0].release()
    held[0].release()  # has no effect
    async with patience():
        await waiting


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


async def _post(
    http: httpx.AsyncClient, request: dict[str, Any], headers: dict[str, str]
) -> httpx.Response:
    return await http.post("/graphql", json=request, headers=headers)
