import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from graph.transport import gateway
from graph.transport import websocket as sockets
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.toy import ANN, Clock, Door, ToyServer, serving, toy_app

PROTOCOL = Subprotocol(sockets.PROTOCOL)
ANN_SPEAKS = {"Authorization": "Bearer ann"}


class Client:
    """A client that sends each message of the protocol explicitly."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.connection.recv())
        return message

    async def greet(self, payload: dict[str, Any] | None = None) -> None:
        await self.say(type="connection_init", payload=payload)
        assert await self.hear() == {"type": "connection_ack"}

    async def subscribe(self, query: str, *, id_: str = "1", **variables: Any) -> None:
        payload = {"query": query, "variables": variables}
        await self.say(type="subscribe", id=id_, payload=payload)

    async def closed(self) -> tuple[int, str]:
        await self.connection.wait_closed()
        assert self.connection.close_code is not None
        return self.connection.close_code, self.connection.close_reason or ""


@contextlib.asynccontextmanager
async def opened(server: ToyServer, **options: Any) -> AsyncIterator[Client]:
    options = {"subprotocols": [PROTOCOL], "proxy": None, "open_timeout": PATIENCE_S} | options
    async with connect(f"ws://{server.address}/graphql", **options) as connection:
        yield Client(connection)


async def test_subscription_completes(toy_server: ToyServer) -> None:
    async with opened(toy_server) as client:
        assert client.connection.subprotocol == PROTOCOL
        await client.greet()
        await client.subscribe("subscription($to: Int!) { count(to: $to) }", to=2)
        assert [await client.hear() for _ in range(3)] == [
            {"id": "1", "type": "next", "payload": {"data": {"count": 1}}},
            {"id": "1", "type": "next", "payload": {"data": {"count": 2}}},
            {"id": "1", "type": "complete"},
        ]
        await client.subscribe("subscription { count(to: 0) }")
        assert await client.hear() == {"id": "1", "type": "complete"}


@pytest.mark.parametrize(
    "payload",
    [
        {"Authorization": "Bearer ann"},
        {"AUTHORIZATION": "Bearer ann", "client": "x"},
        {"headers": {"authorization": "Bearer ann", "x-role": "x"}},
        {"authToken": "ann"},
        {"authToken": "Bearer ann", "Authorization": None},
        {"headers": {"AUTHORIZATION": "Bearer ann"}, "Authorization": ""},
        {"headers": {"Authorization": ""}, "authorization": "Bearer ann"},
        {"headers": {"authToken": "ann"}},
    ],
)
async def test_connection_init_authenticates(
    toy_server: ToyServer, payload: dict[str, Any]
) -> None:
    async with opened(toy_server) as client:
        await client.greet(payload)
        await client.subscribe("{ whoami }")
        assert (await client.hear())["payload"] == {"data": {"whoami": str(ANN)}}
        assert (await client.hear())["type"] == "complete"


@pytest.mark.parametrize(
    "payload",
    [
        {"token": "ann"},
        {"headers": {"x-hasura-admin-secret": "x"}},
        {"headers": "Bearer ann"},
        {"headers": ["Authorization", "Bearer ann"]},
        {"headers": {"headers": {"Authorization": "Bearer ann"}}},
        {"context": {"headers": {"Authorization": "Bearer ann"}}},
        {"connectionParams": {"Authorization": "Bearer ann"}},
        {"Authorization": "", "token": "ann"},
    ],
)
async def test_connection_init_with_unknown_credentials_is_refused(
    toy_server: ToyServer, payload: dict[str, Any]
) -> None:
    async with opened(toy_server) as client:
        await client.say(type="connection_init", payload=payload)
        code, reason = await client.closed()
    assert code == 4403
    assert '{"Authorization": "Bearer <accessToken>"}' in reason


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"authToken": None},
        {"headers": {}},
        {"headers": None},
        {"headers": {"Authorization": ""}},
    ],
)
async def test_connection_init_without_credentials_is_anonymous(
    toy_server: ToyServer, payload: dict[str, Any]
) -> None:
    async with opened(toy_server) as client:
        await client.greet(payload)
        await client.subscribe("{ whoami }")
        message = await client.hear()
        assert message["payload"]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_operation_without_session_is_refused(toy_server: ToyServer) -> None:
    async with opened(toy_server) as client:
        await client.greet()
        await client.subscribe("subscription { forever }")
        message = await client.hear()
        assert message["type"] == "error"
        assert message["payload"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_socket_runs_queries_and_mutations_and_refusals(toy_server: ToyServer) -> None:
    async with opened(toy_server) as client:
        await client.greet()
        await client.subscribe('mutation { signIn(email: "a") }')
        assert (await client.hear())["payload"] == {"data": {"signIn": "a"}}
        assert (await client.hear())["type"] == "complete"
        for query in ("{ nothing }", "{", "query($n: Int!) { boxes(first: $n) { name } }"):
            await client.subscribe(query)
            message = await client.hear()
            assert message["type"] == "error"
            assert message["payload"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_unexpected_error_ends_only_its_operation(toy_server: ToyServer) -> None:
    async with opened(toy_server) as client:
        await client.greet(ANN_SPEAKS)
        await client.subscribe("subscription { forever }", id_="a")
        assert (await client.hear())["id"] == "a"
        await client.subscribe("subscription { broken(trouble: SURPRISE) }", id_="b")
        assert (await client.hear())["type"] == "next"
        message = await client.hear()
        assert (message["id"], message["type"]) == ("b", "error")
        assert message["payload"][0]["extensions"]["code"] == "INTERNAL"
        assert "hunter2" not in str(message)
        await client.subscribe("{ hello }", id_="c")
        assert (await client.hear())["id"] == "c"


async def test_complete_stops_operation_and_frees_id(toy_server: ToyServer) -> None:
    async with opened(toy_server) as client:
        await client.greet(ANN_SPEAKS)
        for _ in range(2):
            await client.subscribe("subscription { forever }")
            assert (await client.hear())["type"] == "next"
            await client.say(type="complete", id="1")
        await client.say(type="complete", id="unknown")
        await client.say(type="ping")
        assert await client.hear() == {"type": "pong"}


async def test_ping_is_answered_before_and_after_init(toy_server: ToyServer) -> None:
    async with opened(toy_server) as client:
        await client.say(type="ping", payload={"any": "thing"})
        assert await client.hear() == {"type": "pong"}
        await client.greet()
        await client.say(type="pong")
        await client.say(type="ping")
        assert await client.hear() == {"type": "pong"}


@pytest.mark.parametrize("protocols", [["graphql-ws"], ["soap"], None])
async def test_subprotocol_must_be_supported(
    toy_server: ToyServer, protocols: list[str] | None
) -> None:
    async with opened(toy_server, subprotocols=protocols) as client:
        assert await client.closed() == (4406, "Subprotocol not acceptable")


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (['{"type": "subscribe", "id": "1", "payload": {"query": "{ hello }"}}'], 4401),
        (['{"type": "connection_init"}', '{"type": "connection_init"}'], 4429),
        (["no json"], 4400),
        (["[]"], 4400),
        (["[" * 100_000], 4400),
        (['{"type": "connection_init", "payload": ' + '{"a":' * 100_000], 4400),
        (['{"type": "start"}'], 4400),
        (['{"id": "1"}'], 4400),
        (['{"type": "connection_init", "payload": []}'], 4400),
        (['{"type": "connection_init", "payload": {"Authorization": 5}}'], 4400),
        (['{"type": "connection_init", "payload": {"Authorization": false}}'], 4400),
        (['{"type": "connection_init", "payload": {"authToken": {}}}'], 4400),
        (['{"type": "connection_init", "payload": {"headers": {"authorization": []}}}'], 4400),
        (['{"type": "connection_init"}', '{"type": "subscribe", "payload": {"query": ""}}'], 4400),
        (['{"type": "connection_init"}', '{"type": "subscribe", "id": "1"}'], 4400),
        (['{"type": "connection_init"}', '{"type": "complete", "id": ""}'], 4400),
        ([b'{"type": "connection_init"}'], 4400),
        (['{"type": "connection_init", "payload": {"Authorization": "Bearer bob"}}'], 4403),
        ([" " * 1_000_001], 1009),
    ],
    ids=str,
)
async def test_protocol_violation_closes_socket(
    toy_server: ToyServer, messages: list[str | bytes], code: int
) -> None:
    async with opened(toy_server) as client:
        for message in messages:
            await client.connection.send(message)
        assert (await client.closed())[0] == code


async def test_half_a_character_closes_socket_and_is_named(toy_server: ToyServer) -> None:
    async with opened(toy_server) as client:
        await client.connection.send(r'{"type": "ping", "payload": {"cut": "\ud83d"}}')
        assert await client.closed() == (4400, "Invalid message: unpaired surrogate")


async def test_operation_id_is_unique_while_running(toy_server: ToyServer) -> None:
    async with opened(toy_server) as client:
        await client.greet(ANN_SPEAKS)
        await client.subscribe("subscription { forever }", id_="same")
        await client.subscribe("subscription { forever }", id_="same")
        assert await client.closed() == (4409, "Subscriber for same already exists")


async def test_init_timeout_closes_socket(
    toy_server: ToyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "INIT_WAIT_S", 0.01)
    async with opened(toy_server) as client:
        assert await client.closed() == (4408, "Connection initialisation timeout")


async def test_operations_per_socket_are_limited(
    toy_server: ToyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "MAX_OPERATIONS", 1)
    async with opened(toy_server) as client:
        await client.greet(ANN_SPEAKS)
        await client.subscribe("subscription { forever }", id_="a")
        assert (await client.hear())["id"] == "a"
        await client.subscribe("{ hello }", id_="b")
        message = await client.hear()
        assert (message["id"], message["type"]) == ("b", "error")
        assert message["payload"][0]["extensions"]["code"] == "RATE_LIMITED"


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [
        (None, True),
        ("http://{host}", True),
        ("https://app.example.com", True),
        ("https://APP.example.com", True),
        ("https://evil.example.com", False),
        ("https://app.example.com.evil.com", False),
        ("http://app.example.com", False),
        ("null", False),
        ("http://[", False),
    ],
)
async def test_origin_must_be_listed(origin: str | None, welcome: bool) -> None:  # noqa: FBT001 - a column of the table
    async with serving(toy_app(Door(), allowed_origins="https://app.example.com")) as server:
        page = Origin(origin.format(host=server.address)) if origin else None
        if welcome:
            async with opened(server, origin=page) as client:
                await client.greet()
        else:
            with pytest.raises(InvalidStatus, match="403"):
                await opened(server, origin=page).__aenter__()


async def closed_at_once(client: Client) -> tuple[int, str]:
    """No message precedes the close frame: a client would end the subscription."""
    with pytest.raises(ConnectionClosed):
        await client.hear()
    return await client.closed()


async def test_socket_closes_when_token_expires(clock: Clock, toy_server: ToyServer) -> None:
    async with opened(toy_server) as client:
        await client.greet(ANN_SPEAKS)
        await client.subscribe("subscription { forever }")
        assert (await client.hear())["type"] == "next"
        clock.ahead = timedelta(hours=1)
        code, reason = await closed_at_once(client)
    assert code == 4403
    assert reason == (
        "The access token has expired. "
        "Call refreshSession, connect with the new access token and subscribe again."
    )


async def test_socket_closes_after_sign_out(
    door: Door, toy_server: ToyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "RECHECK_S", 0.01)
    async with opened(toy_server) as client:
        await client.greet(ANN_SPEAKS)
        await client.subscribe("subscription { forever }")
        assert (await client.hear())["type"] == "next"
        door.open = False
        assert await closed_at_once(client) == (4403, "The token is not valid. Sign in again.")


async def test_close_reason_fits_into_a_frame(toy_server: ToyServer) -> None:
    async with opened(toy_server) as client:
        await client.greet(ANN_SPEAKS)
        for _ in range(2):
            await client.subscribe("subscription { forever }", id_="\N{ELEPHANT}" * 256)
        code, reason = await client.closed()
    assert code == 4409
    assert reason.startswith("Subscriber for \N{ELEPHANT}")


async def test_socket_closes_when_server_stops(door: Door) -> None:
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(toy_app(door)))
        client = await stack.enter_async_context(opened(server))
        await client.greet(ANN_SPEAKS)
        await client.subscribe("subscription { forever }")
        assert (await client.hear())["type"] == "next"
        server.should_exit = True
        assert await client.closed() == (1001, "The server is stopping")


async def test_socket_disconnect_leaves_no_tasks(toy_server: ToyServer) -> None:
    before = asyncio.all_tasks()
    async with opened(toy_server) as client:
        await client.greet(ANN_SPEAKS)
        await client.subscribe("subscription { forever }")
        assert (await client.hear())["type"] == "next"
    await toy_server.stop.streams_ended()
    assert not [task for task in asyncio.all_tasks() - before if "_Socket" in repr(task)]
