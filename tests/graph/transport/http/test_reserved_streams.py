"""The single connection mode of GraphQL over SSE; test_clients.py has graphql-sse itself."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, NamedTuple

import httpx
import pytest
from asgi_lifespan import LifespanManager

from graph.transport import gateway
from graph.transport.http import reserved_streams
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.toy import ANN, Clock, Door, ToyServer, serving, toy_app

TOKEN = "x-graphql-event-stream-token"
ANN_SPEAKS = {"authorization": "Bearer ann"}
FOREVER = "subscription { forever }"
SSE = {"accept": "text/event-stream"}


class Event(NamedTuple):
    name: str
    data: dict[str, Any]


class EventSource:
    """An open event stream."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()

    async def next(self) -> Event | None:
        """The next event; None at the end of the stream."""
        name = ""
        async with patience():
            async for line in self._lines:
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    return Event(name, json.loads(value))
        return None


class Browser:
    """Sends the requests of the protocol."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def reserve(self, **headers: str) -> httpx.Response:
        return await self.http.put("/graphql", headers=ANN_SPEAKS | headers)

    @contextlib.asynccontextmanager
    async def open(self, token: str) -> AsyncIterator[EventSource]:
        """As `EventSource`, which cannot send headers."""
        opened = self.http.stream("GET", "/graphql", params={"token": token}, headers=SSE)
        async with opened as response:
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            yield EventSource(response)

    async def post(
        self, token: str, query: str, operation_id: Any = "1", **headers: str
    ) -> httpx.Response:
        body = {"query": query, "extensions": {"operationId": operation_id}}
        return await self.http.post(
            "/graphql", json=body, headers=ANN_SPEAKS | {TOKEN: token} | headers
        )

    async def delete(self, token: str, **parameters: str) -> httpx.Response:
        headers = ANN_SPEAKS | {TOKEN: token}
        return await self.http.delete("/graphql", params=parameters, headers=headers)


@contextlib.asynccontextmanager
async def browsing(server: ToyServer) -> AsyncIterator[Browser]:
    async with httpx.AsyncClient(base_url=f"http://{server.address}", timeout=PATIENCE_S) as http:
        yield Browser(http)


@pytest.fixture
async def browser(toy_server: ToyServer) -> AsyncIterator[Browser]:
    async with browsing(toy_server) as browser:
        yield browser


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["errors"][0]["extensions"]["code"]


async def test_stream_carries_operations_until_each_ends(browser: Browser) -> None:
    reserved = await browser.reserve()
    assert (reserved.status_code, reserved.headers["content-type"]) == (
        201,
        "text/plain; charset=utf-8",
    )
    token = reserved.text
    async with browser.open(token) as stream:
        assert (await browser.post(token, "{ whoami }", "a")).status_code == 202
        assert await stream.next() == Event(
            "next", {"id": "a", "payload": {"data": {"whoami": str(ANN)}}}
        )
        assert await stream.next() == Event("complete", {"id": "a"})
        await browser.post(token, "{ nothing }", "b")
        refused = await stream.next()
        assert refused is not None
        assert refused.data["payload"]["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
        assert await stream.next() == Event("complete", {"id": "b"})
        for _ in range(2):  # the second after the id is free again
            await browser.post(token, FOREVER, "c")
            assert await stream.next() == Event(
                "next", {"id": "c", "payload": {"data": {"forever": str(ANN)}}}
            )
            assert code_of(await browser.post(token, FOREVER, "c")) == (409, "CONFLICT")
            assert (await browser.delete(token, operationId="c")).status_code == 200
        assert (await browser.delete(token, operationId="unknown")).status_code == 200
        await browser.post(token, 'mutation { signIn(email: "a") }', "d")
        event = await stream.next()
        assert event is not None
        assert event.data["id"] == "d"


async def test_stream_checks_token_user_and_operation_id(browser: Browser, door: Door) -> None:
    token = (await browser.reserve()).text
    assert code_of(await browser.post(token, FOREVER)) == (409, "CONFLICT")  # not open yet
    assert code_of(await browser.post("unknown", FOREVER)) == (404, "NOT_FOUND")
    assert code_of(await browser.delete("unknown", operationId="1")) == (404, "NOT_FOUND")
    assert code_of(await browser.http.get("/graphql?token=unknown", headers=SSE))[0] == 404
    no_stream = {"accept": "application/json"}
    refused = await browser.http.get(f"/graphql?token={token}", headers=no_stream)
    assert refused.status_code == 406
    assert code_of(await browser.http.delete("/graphql"))[0] == 404
    async with browser.open(token) as stream:
        again = await browser.http.get(f"/graphql?token={token}", headers=SSE)
        assert code_of(again) == (409, "CONFLICT")
        for wrong in (None, 5, "", "x" * 257):
            assert code_of(await browser.post(token, FOREVER, wrong))[0] == 422
        assert code_of(await browser.delete(token))[0] == 422
        anonymous = {"query": FOREVER, "extensions": {"operationId": "1"}}
        response = await browser.http.post("/graphql", json=anonymous, headers={TOKEN: token})
        assert code_of(response) == (403, "FORBIDDEN")
        stale = await browser.post(token, FOREVER, authorization="Bearer stale")
        assert code_of(stale) == (401, "UNAUTHENTICATED")
        form = await browser.http.post(
            "/graphql", content="{}", headers=ANN_SPEAKS | {TOKEN: token}
        )
        assert form.status_code == 415
        assert (await browser.post(token, "{ hello }")).status_code == 202
        assert await stream.next() is not None
    door.open = False
    assert code_of(await browser.reserve()) == (401, "UNAUTHENTICATED")


async def test_closed_stream_ends_its_operations_and_voids_its_token(
    browser: Browser, toy_server: ToyServer
) -> None:
    token = (await browser.reserve()).text
    async with browser.open(token) as stream:
        await browser.post(token, FOREVER)
        assert await stream.next() is not None
    await toy_server.stop.streams_ended()
    assert code_of(await browser.post(token, FOREVER)) == (404, "NOT_FOUND")
    assert not [task for task in asyncio.all_tasks() if "ReservedStream._run" in repr(task)]


async def test_streams_of_a_user_are_limited(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserved_streams, "MAX_STREAMS_PER_USER", 2)
    monkeypatch.setattr(reserved_streams, "MAX_RESERVED", 3)
    monkeypatch.setattr(reserved_streams, "MAX_OPERATIONS", 1)
    token = (await browser.reserve()).text
    async with browser.open(token) as stream:
        await browser.reserve()
        assert code_of(await browser.reserve()) == (429, "RATE_LIMITED")
        await browser.post(token, FOREVER, "a")
        assert await stream.next() is not None
        assert code_of(await browser.post(token, FOREVER, "b")) == (429, "RATE_LIMITED")
        for _ in range(2):
            assert (await browser.http.put("/graphql")).status_code == 201
        monkeypatch.setattr(reserved_streams, "MAX_STREAMS_PER_USER", 9)
        assert code_of(await browser.reserve()) == (503, "OVERLOADED")


async def test_streams_without_a_user_are_limited_by_network(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserved_streams, "MAX_STREAMS_PER_USER", 1)
    async with LifespanManager(toy_app(door)) as running:
        for address, status in (
            ("2001:db8::1", 201),
            ("2001:db8::2", 429),  # of the same /64
            ("2001:db8:0:1::1", 201),
        ):
            transport = httpx.ASGITransport(running.app, client=(address, 50_000))
            async with httpx.AsyncClient(transport=transport, base_url="http://howdah") as http:
                assert (await http.put("/graphql")).status_code == status


async def test_reserved_stream_that_is_not_opened_is_dropped(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserved_streams, "OPENED_WITHIN_S", 0.01)
    monkeypatch.setattr(reserved_streams, "MAX_STREAMS_PER_USER", 1)
    dropped = (await browser.reserve()).text
    async with patience():
        while (await browser.reserve()).status_code != 201:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
    response = await browser.http.get(f"/graphql?token={dropped}", headers=SSE)
    assert response.status_code == 404


async def test_stream_tells_operations_that_the_token_expired(
    browser: Browser, clock: Clock
) -> None:
    token = (await browser.reserve()).text
    async with browser.open(token) as stream:
        await browser.post(token, FOREVER)
        assert await stream.next() is not None
        clock.ahead = timedelta(hours=1)
        ended = await stream.next()
        assert ended is not None
        (error,) = ended.data["payload"]["errors"]
        assert error["extensions"]["code"] == "UNAUTHENTICATED"
        assert error["message"] == "The access token has expired."
        assert await stream.next() == Event("complete", {"id": "1"})
        assert await stream.next() is None


async def test_operation_ends_with_the_session_that_started_it(
    browser: Browser, door: Door, clock: Clock
) -> None:
    """The stream was reserved by another session of the same user, which goes on."""
    token = (await browser.reserve()).text
    async with browser.open(token) as stream:
        for name, authorization in (("first", "Bearer ann"), ("second", "Bearer ann-two")):
            await browser.post(token, FOREVER, name, authorization=authorization)
            began = await stream.next()
            assert began is not None
            assert began.data["payload"]["data"] == {"forever": str(ANN)}
        door.second_open = False
        ended = await stream.next()
        assert ended is not None
        (error,) = ended.data["payload"]["errors"]
        assert (ended.data["id"], error["extensions"]["code"]) == ("second", "UNAUTHENTICATED")
        assert await stream.next() == Event("complete", {"id": "second"})
        again = await browser.post(token, FOREVER, "first")
        assert code_of(again) == (409, "CONFLICT")  # it still runs


async def test_stream_that_never_signs_in_is_ended(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "ANONYMOUS_LIFE_S", 1.0)
    token = (await browser.http.put("/graphql")).text
    async with browser.open(token) as stream:
        assert await stream.next() is None


async def test_stream_does_not_complete_when_server_stops(door: Door) -> None:
    async with serving(toy_app(door)) as server, browsing(server) as browser:
        token = (await browser.reserve()).text
        async with browser.open(token) as stream:
            await browser.post(token, FOREVER)
            assert await stream.next() is not None
            server.should_exit = True
            assert await stream.next() is None


async def test_event_source_follows_subscription_by_get(browser: Browser) -> None:
    parameters = {"query": "subscription { count(to: 1) }"}
    async with browser.http.stream("GET", "/graphql", params=parameters, headers=SSE) as response:
        stream = EventSource(response)
        assert await stream.next() == Event("next", {"data": {"count": 1}})


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_preflight_allows_methods_of_protocol(browser: Browser, method: str) -> None:
    headers = {
        "origin": "http://localhost:5173",
        "access-control-request-method": method,
        "access-control-request-headers": TOKEN,
    }
    response = await browser.http.options("/graphql", headers=headers)
    assert response.status_code == 200
    assert method in response.headers["access-control-allow-methods"]
    assert response.headers["access-control-allow-headers"] == TOKEN
