"""Frames of a WebSocket that are no message cost a client as much as the server."""

import asyncio
import base64
import json
import struct
from collections.abc import AsyncGenerator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from graph.operations import Answer
from graph.operations.limits import RequestLimits
from graph.server import websocket_protocol
from graph.server.websocket_protocol import (
    MAX_CONTROL_FRAMES,
    MAX_PARTS,
    PIECE_BYTES,
    SocketProtocol,
)
from graph.transport import websocket
from graph.transport.gateway import Shutdown
from graph.transport.limits.fair_turns import FairTurns
from graph.transport.limits.socket_limit import SocketLimit
from graph.transport.middleware.origins import Origins
from tests.fixtures.patience import patience
from tests.fixtures.toy import ToyServer
from tests.graph.server.test_http_protocol import Connection

CONTINUATION, TEXT, PING, PONG = 0, 1, 9, 10
PONG_TEXT = '{"type": "pong"}'
INIT = json.dumps({"type": "connection_init"}).encode()
HANDSHAKE = (
    b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n" % base64.b64encode(bytes(16))
)


def frame(opcode: int, content: bytes = b"", *, last: bool = True) -> bytes:
    """A frame of a client, masked with zeros."""
    assert len(content) < 126
    return bytes([(0x80 if last else 0) | opcode, 0x80 | len(content)]) + bytes(4) + content


async def close_code(server: ToyServer, *frames: bytes) -> tuple[int, str]:
    """How the server closes a socket that sends these frames after `connection_init`."""
    host, _, port = server.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    async with patience():
        writer.write(HANDSHAKE)
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(TEXT, INIT) + b"".join(frames))
        while True:
            kind, size = await reader.readexactly(2)
            content = await reader.readexactly(size)
            if kind == 0x88:
                writer.close()
                return struct.unpack("!H", content[:2])[0], content[2:].decode()


@pytest.mark.parametrize("opcode", [PING, PONG])
async def test_pings_and_pongs_are_limited(toy_server: ToyServer, opcode: int) -> None:
    code, reason = await close_code(toy_server, frame(opcode) * (MAX_CONTROL_FRAMES + 1))
    assert (code, reason) == (1008, "Too many pings and pongs")


async def test_pings_of_another_window_are_counted_anew(
    toy_server: ToyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_protocol, "WINDOW_S", 0)
    pings = frame(PING) * (2 * MAX_CONTROL_FRAMES)
    code, _ = await close_code(toy_server, pings, frame(TEXT, INIT))
    assert code == 4429  # a second `connection_init`, after all pings


async def test_parts_of_a_message_are_limited(toy_server: ToyServer) -> None:
    parts = frame(CONTINUATION, last=False) * MAX_PARTS
    code, reason = await close_code(toy_server, frame(TEXT, last=False), parts)
    assert (code, reason) == (1008, "A message has too many parts")


async def test_messages_in_parts_and_controls_between_them_are_received(
    toy_server: ToyServer,
) -> None:
    """The second `connection_init` shows that all before it was taken."""
    parts = [frame(CONTINUATION, INIT[at : at + 1], last=False) for at in range(1, len(INIT) - 1)]
    code, _ = await close_code(
        toy_server,
        frame(PING) * (MAX_CONTROL_FRAMES - 1),
        frame(TEXT, b'{"type": "pong"}') * 1_000,
        frame(TEXT, INIT[:1], last=False),
        frame(PONG),
        *parts,
        frame(CONTINUATION, INIT[-1:]),
    )
    assert code == 4429


async def test_messages_that_start_no_operation_wait_for_turns(
    toy_server: ToyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[object] = []
    wait = FairTurns.wait

    async def counted(self: FairTurns, holder: Any, pause_s: float = 0) -> None:
        turns.append(holder)
        await wait(self, holder, pause_s)

    monkeypatch.setattr(FairTurns, "wait", counted)
    messages = [b'{"type": "pong"}', b'{"type": "ping"}', b'{"type": "complete", "id": "1"}']
    await close_code(toy_server, frame(TEXT, INIT))
    without = len(turns)
    await close_code(toy_server, *(frame(TEXT, text) for text in messages), frame(TEXT, INIT))
    assert len(turns) - 2 * without == len(messages)


async def idle(_scope: Any, _receive: Any, _send: Any) -> None:
    """An application that takes no message."""
    await asyncio.Event().wait()


def connected(connection: Connection, app: ASGIApp = idle) -> SocketProtocol:
    config = uvicorn.Config(app, log_config=None)
    config.load()
    protocol = SocketProtocol(config=config, server_state=ServerState(), app_state={})
    protocol.connection_made(connection)
    return protocol


async def test_read_is_parsed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(_: object, data: bytes) -> None:
        sizes.append(len(data))

    monkeypatch.setattr(WebSocketsSansIOProtocol, "data_received", counted)
    protocol = connected(connection := Connection())
    protocol.data_received(bytes(3 * PIECE_BYTES + 1))
    seen = []
    async with patience():
        while connection.is_paused:
            seen.append(len(sizes))
            await asyncio.sleep(0)
    assert seen == [0, 1, 2, 3, 4]
    assert sizes == [PIECE_BYTES] * 3 + [1]
    protocol.connection_lost(None)


async def test_client_that_does_not_read_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_protocol, "UNREAD_TIMEOUT_S", 0)
    protocol = connected(connection := Connection())
    protocol.pause_writing()
    async with patience():
        await connection.aborted.wait()
    protocol.connection_lost(None)


async def test_client_that_reads_on_stays_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_protocol, "UNREAD_TIMEOUT_S", 0)
    protocol = connected(connection := Connection())
    protocol.pause_writing()
    protocol.resume_writing()
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0, later.set)
    await later.wait()
    assert not connection.aborted.is_set()
    protocol.connection_lost(None)


async def test_closed_socket_does_not_wait_for_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_protocol, "CLOSING_TIMEOUT_S", 0)
    protocol = connected(connection := Connection())
    protocol.data_received(HANDSHAKE)
    for task in protocol.tasks:
        task.cancel()
    async with patience():
        await connection.aborted.wait()
    protocol.connection_lost(None)


@pytest.mark.parametrize(
    "end",
    [
        lambda protocol: protocol.data_received(frame(PING) * (MAX_CONTROL_FRAMES + 1)),
        lambda protocol: protocol.data_received(b"\xff" * 20),
        SocketProtocol.keepalive_timeout,
    ],
    ids=["refused", "malformed", "silent"],
)
async def test_send_after_the_end_is_no_error_of_the_server(
    end: Callable[[SocketProtocol], None],
) -> None:
    ended, raised = asyncio.Event(), asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await ended.wait()
        with pytest.raises(ClientDisconnected):
            await send({"type": "websocket.send", "text": "late"})
        raised.set()

    protocol = connected(connection := Connection(), app)
    protocol.data_received(HANDSHAKE)
    async with patience():
        await connection.changed.wait()
        end(protocol)
        ended.set()
        await raised.wait()
    protocol.connection_lost(None)


async def test_end_that_an_operation_notices_first_is_no_error() -> None:
    """The task that receives is running when the send of an operation fails."""
    messages = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": INIT.decode()},
        {"type": "websocket.receive", "text": '{"type": "subscribe", "id": "1", "payload": {}}'},
    ]

    async def receive() -> Any:
        await asyncio.sleep(0)
        return messages.pop(0) if messages else {"type": "websocket.receive", "text": PONG_TEXT}

    async def send(message: Any) -> None:
        if '"id":"1"' in message.get("text", ""):
            raise OSError

    async def forever(*_: object) -> Any:
        await asyncio.Event().wait()

    async def answers(*_: object) -> AsyncGenerator[Answer]:
        yield Answer(b"{}", [], ran=True)

    async def anonymous(_: object) -> None:
        return None

    gateway = SimpleNamespace(
        anonymous_sockets=SocketLimit(None),
        answers=answers,
        context=lambda *_: None,
        operations=SimpleNamespace(limits=RequestLimits()),
        origins=Origins(""),
        services=SimpleNamespace(standbys=None),
        session_end=forever,
        shutdown=Shutdown(),
        turns=FairTurns(),
        viewer=anonymous,
    )
    scope = {
        "type": "websocket",
        "headers": [],
        "subprotocols": [websocket.PROTOCOL],
        "state": {"gateway": gateway},
    }
    async with patience():
        await websocket.serve(scope, receive, send)
