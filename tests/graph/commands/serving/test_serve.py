import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import websockets

from tests.fixtures.graphiql import needs_graphiql
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.served import exchange, new_keys, printed_link, served
from tests.graph.commands.test_cli import ROOT, howdah

KEYS = {
    "HOWDAH_ALLOW_ROOT": "true",  # tests may run in a container
    **new_keys(),
}


@contextlib.asynccontextmanager
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


async def test_sign_in_link_works_once_and_is_in_no_log(tmp_path: Path) -> None:
    async with served(tmp_path / "data") as server:
        assert await server.ask("{ viewer { role } }") == {"viewer": {"role": "ADMIN"}}
        token = server.http.headers["authorization"].removeprefix("Bearer ")
        assert (await exchange(server.http, server.link)).status_code == 403
    logs = [*(tmp_path / "data" / "logs").iterdir(), tmp_path / "data.log"]
    for log in logs:
        assert token not in log.read_text()
        assert server.link.partition("#sign-in=")[2] not in log.read_text()
        for line in log.read_text().splitlines():
            assert json.loads(line)["level"] == "info"
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


async def test_banner_says_who_is_signed_in_and_prints_commands_that_work(tmp_path: Path) -> None:
    folder = str(tmp_path / "the data")
    async with started("--port", "0", "--data-dir", folder, PATH=os.defpath) as process:
        await printed_link(process)
        assert process.stdout is not None
        lines = [(await process.stdout.readline()).decode() for _ in range(3)]
        assert "you are signed in as admin@howdah.local." in lines[0]
        link, token = (shlex.split(re.findall("`(.+)`", line)[0]) for line in lines[1:])
        for program, *_ in (link, token):  # a path, because it is not on the PATH
            assert (ROOT / program).samefile(Path(sys.executable).with_name("howdah"))
        assert "#sign-in=" in (await howdah(*link[1:])).output
        assert (await howdah(*token[1:])).output.startswith("eyJ")
        process.terminate()
        await process.communicate()


@needs_graphiql
async def test_page_of_a_running_server_is_graphiql_without_a_token(tmp_path: Path) -> None:
    async with served(tmp_path / "data") as server:
        page = await server.http.get(server.address, headers={"accept": "text/html"})
    assert page.status_code == 200, "run `make graphiql`"
    assert "<script" in page.text
    assert "Bearer" not in page.text


async def test_sign_in_link_command_prints_a_link_of_the_running_server(tmp_path: Path) -> None:
    command = ("user", "sign-in-link", "--data-dir", str(tmp_path / "data"))
    async with served(tmp_path / "data", "--workers", "2") as server:
        links = [(await howdah(*command)).output.strip() for _ in range(2)]
        for link in links:
            assert link.startswith(f"{server.address}#sign-in=")
            # a connection of its own: to either worker
            async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
                answers = [await exchange(http, link) for _ in range(2)]
            assert [answer.status_code for answer in answers] == [200, 403]
    code, output, errors = await howdah(*command)
    assert (code, output) == (1, "")
    assert "No development server is running" in errors


async def test_sign_in_link_signs_in_one_of_many_workers_callers(tmp_path: Path) -> None:
    async with started(
        *("--workers", "2", "--port", "0", "--data-dir", str(tmp_path / "data"))
    ) as process:
        link = await printed_link(process)
        async with contextlib.AsyncExitStack() as stack:
            callers = [
                await stack.enter_async_context(httpx.AsyncClient(timeout=PATIENCE_S))
                for _ in range(8)
            ]
            answers = await asyncio.gather(*(exchange(http, link) for http in callers))
        assert sorted(answer.status_code for answer in answers) == [200] + 7 * [403]
        process.terminate()
        await process.communicate()


async def test_forwarded_address_is_not_trusted_in_development(tmp_path: Path) -> None:
    async with started(
        *("--port", "0", "--data-dir", str(tmp_path / "data")), FORWARDED_ALLOW_IPS="*"
    ) as process:
        link = await printed_link(process)
        address = link.partition("#")[0]
        async with httpx.AsyncClient(
            headers={"X-Forwarded-For": "127.0.0.1"}, timeout=PATIENCE_S
        ) as http:
            answers = [await exchange(http, link) for _ in range(3)]
            await http.post(address, json={"query": "{ health { status } }"})
        assert [answer.status_code for answer in answers] == 3 * [403]
        process.terminate()
        _, errors = await process.communicate()
    (warning,) = [line for line in errors.splitlines() if b"PROXY" in line]
    assert b"HOWDAH_ENV=production" in warning


async def test_serve_beside_running_server_reports_its_address(tmp_path: Path) -> None:
    async with served(tmp_path / "data") as server:
        port = server.address.rpartition(":")[2].partition("/")[0]
        code, output, errors = await howdah(
            "serve", "--data-dir", str(tmp_path / "data"), "--port", port
        )
    assert (code, output) == (1, "")
    assert "Another Howdah server" in errors
    assert server.address in errors


async def test_serve_reports_a_port_in_use(tmp_path: Path) -> None:
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
    [("no.such.host.invalid", "not known"), ("192.0.2.1", "not an address of this machine")],
)
async def test_serve_reports_an_unusable_host(
    committed_url: str, tmp_path: Path, host: str, words: str
) -> None:
    code, _, errors = await howdah(
        *("serve", "--host", host, "--port", "0", "--data-dir", str(tmp_path)),
        HOWDAH_DATABASE_URL=committed_url,
        **KEYS,
    )
    assert code == 1
    assert words in errors.splitlines()[-2]


async def test_production_prints_no_sign_in_link(committed_url: str, tmp_path: Path) -> None:
    async with started(
        *("--port", "0", "--data-dir", str(tmp_path)),
        HOWDAH_DATABASE_URL=committed_url,
        **KEYS,
    ) as process:
        address = await address_from(process)
        async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
            answer = await http.post(address, json={"query": "{ health { status } }"})
        assert answer.json() == {"data": {"health": {"status": "OK"}}}
        process.terminate()
        rest, errors = await process.communicate()
    assert process.returncode == 0
    assert rest == b""
    assert not re.search(rb"Bearer|eyJ", errors)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_closes_sockets_with_1001_and_exits_with_zero(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with started("--port", "0", "--data-dir", str(tmp_path / "data")) as process:
        address = await address_from(process)
        url = address.replace("http", "ws", 1)
        async with websockets.connect(
            url,
            subprotocols=[websockets.Subprotocol("graphql-transport-ws")],
            open_timeout=PATIENCE_S,
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


async def test_signal_during_start_exits_with_zero(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "postgres"
    async with started("--port", "0", "--data-dir", str(tmp_path / "data")) as process:
        async with patience():
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
        _, left = await asyncio.to_thread(psutil.wait_procs, both, timeout=PATIENCE_S)
        assert left == []


async def test_workers_exit_with_zero_after_sigterm(tmp_path: Path) -> None:
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
    async with patience():
        while len(found := [child for child in parent.children() if _works(child)]) < 2:  # noqa: ASYNC110 - other processes tell no event
            await asyncio.sleep(0.01)
    return found


def _works(child: psutil.Process) -> bool:
    try:
        return "graph.commands.serving.workers" in child.cmdline()
    except psutil.Error:  # it has ended
        return False


async def until_refused(host: str | None, port: int | None) -> None:
    with contextlib.suppress(ConnectionRefusedError):
        while True:
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            await asyncio.sleep(0.01)


async def test_stopping_workers_refuse_connections_while_a_request_ends(tmp_path: Path) -> None:
    """A balancer tries a refused connection elsewhere; one that nobody accepts would hang."""
    given = ("--workers", "2", "--port", "0", "--data-dir", str(tmp_path / "data"))
    async with started(*given) as process, patience():
        address = await address_from(process)
        async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
            assert (await http.get(address.replace("/graphql", "/readyz"))).is_success
        host, port = urlsplit(address).hostname, urlsplit(address).port
        reader, unfinished = await asyncio.open_connection(host, port)
        unfinished.write(
            b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
        )
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"  # a worker has the request
        process.terminate()
        await until_refused(host, port)
        assert process.returncode is None
        unfinished.close()
        await process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_sigterm_drains_first(tmp_path: Path, workers: str) -> None:
    given = ("--workers", workers, "--port", "0", "--data-dir", str(tmp_path / "data"))
    async with started(*given, HOWDAH_DRAIN_SECONDS="3600") as process:
        address = await address_from(process)
        probe = address.replace("/graphql", "/readyz")
        async with httpx.AsyncClient(timeout=PATIENCE_S) as http, patience():
            assert (await http.get(probe)).is_success
            family = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            while (ready := await http.get(probe)).is_success:
                pass
            assert (ready.status_code, ready.text) == (503, "stopping\n")
            answer = await http.post(address, json={"query": "{ health { status } }"})
        assert answer.json() == {"data": {"health": {"status": "OK"}}}
        process.send_signal(signal.SIGINT)  # a second signal of Ctrl+C does not wait
        async with patience():
            while process.returncode is None:  # noqa: ASYNC110 - `wait` waits for the workers too
                await asyncio.sleep(0.01)
        for left in family:  # they drain, and hold the pipes of the server
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        await process.communicate()
    assert process.returncode == 130
