import json
from collections.abc import AsyncGenerator
from datetime import timedelta

import httpx
import pytest

from graph.transport import gateway
from graph.transport.http import streams
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.toy import Clock, Door, ToyServer, serving, toy_app

SSE = "text/event-stream"
APOLLO = 'multipart/mixed;boundary="graphql";subscriptionSpec=1.0,application/json'
COUNT = "subscription { count(to: 2) }"
FOREVER = "subscription { forever }"


async def followed(
    server: ToyServer, query: str, accept: str, **headers: str
) -> AsyncGenerator[str]:
    """The content type of the response, then its body in pieces."""
    url = f"http://{server.address}/graphql"
    async with (
        httpx.AsyncClient(headers={"accept": accept} | headers, timeout=PATIENCE_S) as client,
        client.stream("POST", url, json={"query": query}) as response,
    ):
        yield response.headers["content-type"]
        async for chunk in response.aiter_text():
            yield chunk


async def body(server: ToyServer, query: str, accept: str, **headers: str) -> str:
    return "".join([part async for part in followed(server, query, accept, **headers)][1:])


async def test_event_stream_follows_protocol(toy_server: ToyServer) -> None:
    assert await body(toy_server, COUNT, SSE) == (
        ":\n\n"
        'event: next\ndata: {"data":{"count":1}}\n\n'
        'event: next\ndata: {"data":{"count":2}}\n\n'
        "event: complete\ndata: \n\n"
    )


async def test_event_stream_sends_query_result(toy_server: ToyServer) -> None:
    text = await body(toy_server, "{ hello }", SSE)
    assert text.count("event: next") == text.count("event: complete") == 1
    assert '{"data":{"hello":"Hello, you!"}}' in text


async def test_event_stream_sends_refusal_as_event(
    toy_server: ToyServer,
) -> None:
    text = await body(toy_server, "subscription { nothing }", SSE)
    assert "BAD_USER_INPUT" in text
    assert text.endswith("event: complete\ndata: \n\n")


async def test_multipart_stream_follows_protocol(toy_server: ToyServer) -> None:
    content_type, *chunks = [part async for part in followed(toy_server, COUNT, APOLLO)]
    assert content_type == 'multipart/mixed; boundary="-"; subscriptionSpec=1.0'
    _, *parts, end = "".join(chunks).split("\r\n---")
    assert end == "--\r\n"
    bodies = [json.loads(part.split("\r\n\r\n", 1)[1]) for part in parts]
    assert bodies == [{"payload": {"data": {"count": number}}} for number in (1, 2)]


@pytest.mark.parametrize("accept", [SSE, APOLLO])
async def test_stream_sends_heartbeats(
    toy_server: ToyServer, accept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.01)
    beats = 0
    parts = followed(toy_server, FOREVER, accept, authorization="Bearer ann")
    async for part in parts:
        beats += part == ":\n\n" or part.endswith("{}\r\n---")
        if beats == 3:
            break
    await parts.aclose()
    await toy_server.stop.streams_ended()


@pytest.mark.parametrize("accept", [SSE, APOLLO])
async def test_stream_ends_when_token_expires(
    clock: Clock, toy_server: ToyServer, accept: str
) -> None:
    received = []
    async for part in followed(toy_server, FOREVER, accept, authorization="Bearer ann"):
        received.append(part)
        clock.ahead = timedelta(hours=1)
    text = "".join(received[1:])
    assert text.count("UNAUTHENTICATED") == 1
    assert "The access token has expired." in text
    assert "refreshSession" in text
    assert text.endswith(("event: complete\ndata: \n\n", "--\r\n"))


async def test_stream_ends_after_sign_out(
    door: Door, toy_server: ToyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "RECHECK_S", 0.01)
    received = []
    async for part in followed(toy_server, FOREVER, SSE, authorization="Bearer ann"):
        received.append(part)
        if "next" in part:
            door.open = False
    assert "UNAUTHENTICATED" in "".join(received)
    assert received[-1].endswith("event: complete\ndata: \n\n")


async def test_stream_does_not_complete_when_server_stops(door: Door) -> None:
    received = []
    async with serving(toy_app(door)) as server:
        async for part in followed(server, FOREVER, SSE, authorization="Bearer ann"):
            received.append(part)
            if "next" in part:
                server.should_exit = True
    assert "complete" not in "".join(received)
