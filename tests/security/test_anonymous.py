"""What anybody can keep open or make the server do without signing in is limited by address."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import httpx
import pytest
import websockets
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from db.services import Services
from db.settings import Settings
from graph.server import http_protocol
from graph.server.http_protocol import ConnectionsByAddress
from graph.server.uvicorn_server import Server, create_config
from graph.transport import gateway, graphiql
from graph.transport.gateway import Shutdown
from graph.transport.limits.fair_turns import FairTurns
from tests.fixtures.clients import SUBPROTOCOL
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.toy import ToyServer, serving
from tests.security.test_local_sign_in import calling

Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


ended = asyncio.Event()


async def endless(_: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(65_536)
                await asyncio.sleep(0)  # lets the server notice the end
        finally:
            ended.set()

    ended.clear()
    return StreamingResponse(pieces())


async def refuse(_: Request) -> Response:
    return PlainTextResponse("refused", status_code=403)


@contextlib.asynccontextmanager
async def small_server(**chosen: object) -> AsyncIterator[int]:
    """A real server without services; yields its port."""
    app = Starlette(
        routes=[
            Route("/echo", echo, methods=["GET", "POST"]),
            Route("/files/refused", refuse, methods=["PUT"]),
            Route("/endless", endless),
            Route("/refused", refuse, methods=["POST"]),
        ]
    )
    shutdown = Shutdown()
    server = Server(create_config(app, Settings(port=0, **chosen), shutdown), shutdown)  # type: ignore[arg-type]  # settings of a test
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve())
        async with patience():
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event
                await asyncio.sleep(0.01)
        try:
            yield server.servers[0].sockets[0].getsockname()[1]
        finally:
            server.should_exit = True


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits in time that a test can wait for."""
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 1.0)
    monkeypatch.setattr(http_protocol, "BODY_TIMEOUT_S", 0.3)
    monkeypatch.setattr(http_protocol, "UNREAD_BODY_TIMEOUT_S", 0.3)
    monkeypatch.setattr(http_protocol, "UNREAD_RESPONSE_TIMEOUT_S", 0.3)


async def answer_to(port: int, *pieces: bytes, trickle: bytes = b"") -> bytes:
    """What the server sends until it closes, while the client sends a piece every 50 ms."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        for piece in pieces:
            writer.write(piece)
        while trickle:
            await asyncio.sleep(0.05)
            writer.write(trickle)
            await writer.drain()

    sending = asyncio.create_task(send())
    try:
        received = b""
        async with patience():
            with contextlib.suppress(ConnectionError):  # for what the client sent after the end
                while piece := await reader.read(65_536):
                    received += piece
        return received
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await close(writer)


POST = b"POST %s HTTP/1.1\r\nHost: howdah\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.usefixtures("hasty")
async def test_slow_requests_are_ended() -> None:
    async with small_server() as port:
        silent = await answer_to(port)
        head, blank, body, unread = await asyncio.gather(
            answer_to(port, b"GET /echo HTTP/1.1\r\n", trickle=b"X-A: b\r\n"),
            answer_to(port, b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", trickle=b"\r\n"),
            answer_to(port, POST % b"/echo", trickle=b"x"),
            answer_to(port, POST % b"/refused", trickle=b"x"),
        )
    assert silent == b""
    assert head.startswith(b"HTTP/1.1 408 ")
    assert blank.startswith(b"HTTP/1.1 200 ")
    assert b"408" not in blank
    assert body.startswith(b"HTTP/1.1 408 ")
    assert unread.startswith(b"HTTP/1.1 403 ")


@pytest.mark.usefixtures("hasty")
async def test_response_that_is_not_read_is_ended() -> None:
    async with small_server() as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of a socket
        writer.write(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        async with patience():
            await ended.wait()
        await close(writer)


async def test_limits_of_a_request_end_with_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit runs while the server works, and that of the headers not during the body."""
    limits: list[float | None] = []
    wait = http_protocol.Protocol._wait

    def noted(protocol: http_protocol.Protocol, seconds: float | None) -> None:
        if limits[-1:] != [seconds]:
            limits.append(seconds)
        wait(protocol, seconds)

    async with small_server() as port, httpx.AsyncClient(timeout=PATIENCE_S) as http:
        for _ in range(3):
            found = await http.post(f"http://127.0.0.1:{port}/echo", content=bytes(200_000))
            assert found.text == "200000"
        monkeypatch.setattr(http_protocol.Protocol, "_wait", noted)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head, body = http_protocol.HEAD_TIMEOUT_S, http_protocol.BODY_TIMEOUT_S
        expected = [head, None, head, body, None]
        for piece, count in (
            (b"", 1),
            (b"POST /echo HTTP/1.1\r\nHost: a\r\n", 3),
            (b"Content-Length: 2\r\n\r\na", 4),
            (b"b", 5),
        ):
            writer.write(piece)
            async with patience():
                while limits != expected[:count]:  # noqa: ASYNC110 - there is no event
                    await asyncio.sleep(0)
        async with patience():
            assert (await reader.readuntil(b"\r\n\r\n2")).startswith(b"HTTP/1.1 200 ")
        await close(writer)


async def test_connections_of_an_address_are_limited() -> None:
    async with small_server(connections_per_address=3) as port:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert await answer_to(port, b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n") == b""
        other = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
        assert await served(other)
        await close(opened.pop()[1])
        async with patience():
            while not await served(await asyncio.open_connection("127.0.0.1", port)):
                pass
        for _, writer in opened:
            await close(writer)


async def served(opened: Opened) -> bool:
    reader, writer = opened
    answer = b""
    with contextlib.suppress(ConnectionError):
        writer.write(b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
    await close(writer)
    return answer.startswith(b"HTTP/1.1 200 ")


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def test_limit_counts_networks_and_spares_trusted_proxies() -> None:
    connections = ConnectionsByAddress(1, exempt={"10.0.0.1"})
    assert connections.enter("2001:db8::1")
    assert connections.enter("2001:db8::2") is None  # of the same /64
    assert connections.enter("2001:db8:0:1::1")
    assert connections.enter("10.0.0.1") == connections.enter("10.0.0.1") == ""
    assert connections.enter("") == connections.enter("") == ""  # its client has gone already


def connecting(address: str) -> websockets.connect:
    return websockets.connect(address, subprotocols=[SUBPROTOCOL], open_timeout=PATIENCE_S)


INIT = '{"type": "connection_init"}'
SIGNED_IN = '{"type": "connection_init", "payload": {"Authorization": "Bearer x"}}'


async def test_socket_that_never_signs_in_is_closed(
    toy_server: ToyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "ANONYMOUS_LIFE_S", 1.0)
    address = f"ws://{toy_server.address}/graphql"
    async with connecting(address) as socket:
        await socket.send(INIT)
        assert "connection_ack" in str(await socket.recv())
        async with patience():
            await socket.wait_closed()
        assert socket.close_code == 4403
        assert "has not signed in" in str(socket.close_reason)


async def test_sockets_of_an_address_and_of_a_user_are_limited(
    services: Services, app: Starlette, ada_token: str
) -> None:
    async with serving(app) as server:
        address = f"ws://{server.address}/graphql"
        async with contextlib.AsyncExitStack() as stack:

            async def connect(payload: str) -> None:
                opened = connecting(address)
                socket = await stack.enter_async_context(opened)
                await socket.send(payload)
                assert "connection_ack" in str(await socket.recv())

            signed_in = SIGNED_IN.replace("x", ada_token)
            for _ in range(4):  # do not count as anonymous
                await connect(signed_in)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await connect(signed_in)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, "4 open sockets" in closed.value.rcvd.reason) == (
                1013,
                True,
            )
            for _ in range(2):
                await connect(INIT)
            with pytest.raises(websockets.InvalidStatus):
                await connect(INIT)
        await until_accepted(address)
        await until_signed_in(address, signed_in)


async def until_accepted(address: str) -> None:
    """Places are left when sockets end."""
    async with patience():
        while True:
            with contextlib.suppress(websockets.InvalidStatus):
                async with connecting(address):
                    return


async def until_signed_in(address: str, payload: str) -> None:
    async with patience():
        while True:
            with contextlib.suppress(websockets.ConnectionClosed):
                async with connecting(address) as socket:
                    await socket.send(payload)
                    await socket.recv()
                    return


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        env="development",
        data_dir=tmp_path,
        sign_up="open",
        anonymous_sockets_per_address=2,
        sockets_per_user=4,
    )


@pytest.fixture
async def ada_token(services: Services) -> str:
    return await services.identity.issue(await services.identity.local_admin())


async def test_assets_are_compressed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "assets").mkdir()
    script = b"let howdah = 1;\n" * 10_000
    (tmp_path / "assets" / "editor-abc.js").write_bytes(script)
    calls: list[int] = []
    compress = gzip.compress

    def counted(data: bytes, level: int) -> bytes:
        calls.append(len(data))
        return compress(data, level)

    monkeypatch.setattr(gzip, "compress", counted)
    transport = httpx.ASGITransport(graphiql.assets(tmp_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://howdah") as http:
        answers = await asyncio.gather(*(http.get("/editor-abc.js") for _ in range(20)))
        plain = await http.get("/editor-abc.js", headers={"accept-encoding": "identity"})
    assert calls == [len(script)]
    assert all(answer.content == script for answer in [*answers, plain])
    assert answers[0].headers["content-encoding"] == "gzip"
    assert answers[0].headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert answers[0].headers["content-type"] == "text/javascript; charset=utf-8"
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/files/{:032x}?expires=1&signature=x", 403),
        ("/healthz?{}", 200),
        ("/graphql/assets/{}.js", 404),
    ],
)
async def test_requests_of_one_address_wait_for_each_other(
    services: Services, path: str, status: int
) -> None:
    """While one address sends 300 requests, another gets its answer at once."""
    async with calling(services, peer="192.0.2.1") as flood, calling(services) as http:
        flooding = [asyncio.create_task(flood.get(path.format(number))) for number in range(300)]
        await asyncio.sleep(0)
        assert (await http.get("/healthz")).status_code == 200
        done = sum(task.done() for task in flooding)
        answers = await asyncio.gather(*flooding)
    assert done < 100
    assert {answer.status_code for answer in answers} == {status}


async def test_pings_of_one_holder_wait_for_each_other() -> None:
    turns, order = FairTurns(), list[str]()

    async def take(holder: str) -> None:
        await turns.wait(holder)
        order.append(holder)

    await asyncio.gather(*(take("flood") for _ in range(50)), take("other"))
    assert order.index("other") <= 2


async def test_pieces_of_downloads_have_turns() -> None:
    turns, order = FairTurns(), list[str]()

    async def pieces() -> AsyncGenerator[bytes]:
        for _ in range(10):
            yield b"x"

    async def read(holder: str) -> None:
        async for _ in turns.each(holder, pieces()):
            order.append(holder)

    await asyncio.gather(*(read("flood") for _ in range(20)), read("other"))
    assert order.index("other") <= 2
    assert max(index for index, holder in enumerate(order) if holder == "other") < 40


async def test_call_that_is_cancelled_leaves_its_turn_to_the_next() -> None:
    turns = FairTurns()
    calls = [asyncio.create_task(turns.wait("flood")) for _ in range(20)]
    await asyncio.sleep(0)
    for call in calls[:10]:
        call.cancel()
    async with patience():
        await asyncio.gather(*calls[10:])
    await turns.wait("flood")
