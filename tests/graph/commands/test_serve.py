import asyncio
import base64
import json
import os
import re
import secrets
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import websockets

from tests.fixtures.served import served
from tests.graph.commands.test_cli import ROOT, howdah

KEYS = {
    "HOWDAH_SECRET_KEY": secrets.token_urlsafe(48),
    "HOWDAH_CREDENTIAL_KEY": "k1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
}


@asynccontextmanager
async def started(*arguments: str, **environment: str) -> AsyncIterator[Process]:
    clean = {name: value for name, value in os.environ.items() if "HOWDAH" not in name}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "graph.commands.main", "serve", *arguments),
        cwd=ROOT,
        env=clean | environment,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def address_from(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().split()[-1]


async def test_a_sign_in_is_printed_and_in_no_log(tmp_path: Path) -> None:
    async with served(tmp_path / "data") as server:
        assert await server.ask("{ viewer { role } }") == {"viewer": {"role": "ADMIN"}}
        token = server.http.headers["authorization"].removeprefix("Bearer ")
        page = await server.http.get(server.address, headers={"accept": "text/html"})
    assert page.status_code == 404 or "Authorization" in page.text  # 404: GraphiQL is not built
    logs = [*(tmp_path / "data" / "logs").iterdir(), tmp_path / "data.log"]
    for log in logs:
        assert token not in log.read_text()
        for line in log.read_text().splitlines():
            assert json.loads(line)["level"] == "info"
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


async def test_a_second_server_on_the_folder_learns_where_the_first_is(tmp_path: Path) -> None:
    async with served(tmp_path / "data") as server:
        port = server.address.rpartition(":")[2].partition("/")[0]
        code, output, errors = await howdah(
            "serve", "--data-dir", str(tmp_path / "data"), "--port", port
        )
    assert (code, output) == (1, "")
    assert "Another Howdah server" in errors
    assert server.address in errors


async def test_a_taken_port_is_told_with_a_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, _, errors = await howdah(
            "serve", "--data-dir", str(tmp_path / "data"), "--port", str(port)
        )
    assert code == 1
    assert f"listens on port {port} of 127.0.0.1" in errors
    assert "--port 0" in errors


@pytest.mark.parametrize(
    ("host", "words"),
    [("no.such.host.invalid", "not known"), ("192.0.2.1", "no address of this machine")],
)
async def test_a_host_that_is_not_ours_is_told(
    committed_url: str, tmp_path: Path, host: str, words: str
) -> None:
    code, _, errors = await howdah(
        *("serve", "--host", host, "--port", "0", "--data-dir", str(tmp_path)),
        HOWDAH_DATABASE_URL=committed_url,
        **KEYS,
    )
    assert code == 1
    assert words in errors.splitlines()[-2]


async def test_production_prints_no_sign_in(committed_url: str, tmp_path: Path) -> None:
    async with started(
        *("--port", "0", "--data-dir", str(tmp_path)),
        HOWDAH_DATABASE_URL=committed_url,
        **KEYS,
    ) as process:
        address = await address_from(process)
        async with httpx.AsyncClient() as http:
            answer = await http.post(address, json={"query": "{ health { status } }"})
        assert answer.json() == {"data": {"health": {"status": "OK"}}}
        process.terminate()
        rest, errors = await process.communicate()
    assert process.returncode == 0
    assert rest == b""
    assert not re.search(rb"Bearer|eyJ", errors)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_closes_sockets_with_1001_and_ends_well(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with started("--port", "0", "--data-dir", str(tmp_path / "data")) as process:
        address = await address_from(process)
        url = address.replace("http", "ws", 1)
        async with websockets.connect(
            url, subprotocols=[websockets.Subprotocol("graphql-transport-ws")]
        ) as client:
            await client.send('{"type": "connection_init"}')
            await client.recv()
            process.send_signal(number)
            with pytest.raises(websockets.ConnectionClosed):
                await client.recv()
            assert client.close_code == 1001
        await process.communicate()
    assert process.returncode == 0
    assert not (tmp_path / "data" / "postgres" / "cluster" / "postmaster.pid").exists()


async def test_a_signal_while_it_starts_ends_well_too(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "postgres"
    async with started("--port", "0", "--data-dir", str(tmp_path / "data")) as process:
        async with asyncio.timeout(30):
            while not (folder / "server.json").exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.01)
        process.terminate()
        await process.communicate()
    assert process.returncode == 0
    assert not (folder / "cluster" / "postmaster.pid").exists()


async def test_workers_share_the_port_are_replaced_and_end_with_their_parent(
    tmp_path: Path,
) -> None:
    async with served(tmp_path / "data", "--workers", "2") as server:
        parent = psutil.Process(server._process.pid)
        killed, other = await workers_of(parent)
        assert await server.ask("{ viewer { role } }") == {"viewer": {"role": "ADMIN"}}
        killed.kill()
        await asyncio.to_thread(psutil.wait_procs, [killed])
        both = await workers_of(parent)
        assert other in both
        assert await server.ask("{ health { status } }") == {"health": {"status": "OK"}}
        await server.kill("server")
        _, left = await asyncio.to_thread(psutil.wait_procs, both, timeout=30)
        assert left == []


async def test_workers_end_well_with_sigterm(tmp_path: Path) -> None:
    async with started(
        *("--workers", "2", "--port", "0", "--data-dir", str(tmp_path / "data"))
    ) as process:
        await address_from(process)
        both = await workers_of(psutil.Process(process.pid))
        process.terminate()
        await process.communicate()
        assert process.returncode == 0
        assert not any(worker.is_running() for worker in both)


async def workers_of(parent: psutil.Process) -> list[psutil.Process]:
    """Two of them, as soon as there are."""
    async with asyncio.timeout(30):
        while len(found := [child for child in parent.children() if _works(child)]) < 2:  # noqa: ASYNC110 - other processes tell no event
            await asyncio.sleep(0.01)
    return found


def _works(child: psutil.Process) -> bool:
    try:
        return "graph.commands.workers" in child.cmdline()
    except psutil.Error:  # it has ended
        return False
