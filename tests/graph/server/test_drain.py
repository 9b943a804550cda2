"""A server that is stopped serves until load balancers have seen that it is not ready."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.fixtures.patience import patience
from tests.fixtures.replicas import OpenReplica
from tests.fixtures.toy import Door, ToyServer, client_of, serving, toy_app

HELLO = {"query": "{ hello }"}
FOREVER_S = 86_400
"""The drain lasts until the test ends it."""


@pytest.fixture
async def draining_server(door: Door) -> AsyncIterator[ToyServer]:
    async with serving(toy_app(door), drain_s=FOREVER_S) as server:
        yield server
        server.should_exit = True


async def ended(server: ToyServer) -> None:
    server.should_exit = True
    async with patience():
        while server.servers[0].is_serving():  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.01)


async def test_drain_turns_readyz_red_and_serves_on_closing_connections(
    draining_server: ToyServer,
) -> None:
    async with client_of(draining_server) as kept, client_of(draining_server) as fresh:
        before = await kept.post("/graphql", json=HELLO)
        assert "connection" not in before.headers
        draining_server.drain()
        ready = await fresh.get("/readyz")
        assert (ready.status_code, ready.text) == (503, "stopping\n")
        assert (await fresh.get("/healthz")).status_code == 200
        for client in (kept, fresh):  # the first on the connection that it has kept
            answer = await client.post("/graphql", json=HELLO)
            assert answer.json() == {"data": {"hello": "Hello, you!"}}
            assert answer.headers["connection"] == "close"
        await ended(draining_server)
        with pytest.raises(httpx.ConnectError):
            await fresh.get("/healthz")


async def test_drain_closes_connection_after_the_response_in_progress(
    draining_server: ToyServer, door: Door
) -> None:
    door.answers.clear()
    async with client_of(draining_server) as client:
        waiting = asyncio.create_task(client.post("/graphql", json=HELLO))
        async with patience():
            await door.asked.wait()
        draining_server.drain()
        door.answers.set()
        async with patience():
            answer = await waiting
    assert answer.json() == {"data": {"hello": "Hello, you!"}}
    assert answer.headers["connection"] == "close"


async def test_stream_stays_open_until_the_drain_ends(draining_server: ToyServer) -> None:
    headers = {"authorization": "Bearer ann", "accept": "text/event-stream"}
    body = {"query": "subscription { forever }"}
    async with (
        client_of(draining_server) as client,
        client.stream("POST", "/graphql", json=body, headers=headers) as stream,
        patience(),
    ):
        parts = stream.aiter_text()
        while "forever" not in await anext(parts):
            pass
        draining_server.drain()
        assert not draining_server.stop.begun
        assert draining_server.stop.streams == 1
        draining_server.should_exit = True
        async for _ in parts:
            pass  # until the server ends it
        assert draining_server.stop.begun


async def test_runs_have_the_whole_time_of_the_setting_once_a_stop_begins(
    open_replica: OpenReplica,
) -> None:
    """They share it with requests in progress: the end of the process comes no later."""
    async with open_replica(stop_seconds=FOREVER_S) as replica:
        timer = replica.services.stop_timer
        assert timer.left_s() == FOREVER_S
        replica.app.state.shutdown.begin()
        assert timer.left_s() < FOREVER_S
