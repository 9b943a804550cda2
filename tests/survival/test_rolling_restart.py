"""No request fails while three replicas behind HAProxy restart, one after the other."""

import asyncio
import contextlib
import csv
import itertools
import shutil
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NoReturn

import httpx
import pytest

from db.waiting import cancel_all
from tests.fixtures.clients import Client
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.replicas import AddUser, OpenReplica, Replica

CLIENTS = 4
FOREVER_S = 3_600
"""Each drain lasts until HAProxy has noticed it."""
CREATE = "mutation ($input: CreateTaskInput!) { createTask(input: $input) { task { title } } }"

# Nothing is sent twice: each failure of a replica is a failure for the client.
CONFIGURATION = """
defaults
  mode http
  timeout connect 60s
  timeout client 60s
  timeout server 60s
  timeout check 60s
  retries 0
  http-reuse safe
  option httpchk GET /readyz
  default-server inter 1s downinter 100ms fall 1 rise 1 pool-purge-delay 2s

frontend public
  bind 127.0.0.1:{port}
  stats enable
  stats uri /stats
  default_backend replicas

backend replicas
  balance roundrobin
{servers}
"""

needs_haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs haproxy")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Balancer:
    """HAProxy in front of these ports of this machine."""

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        self._port = free_port()
        self._file = folder / "haproxy.cfg"
        servers = "\n".join(f"  server r{one} 127.0.0.1:{one} check" for one in ports)
        self._file.write_text(CONFIGURATION.format(port=self._port, servers=servers))
        self.address = f"http://127.0.0.1:{self._port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        process = await asyncio.create_subprocess_exec("haproxy", "-db", "-f", str(self._file))
        try:
            yield
        finally:
            process.terminate()
            await process.wait()

    async def finds(self, port: int, state: str) -> None:
        """Returns when the replica is `UP` or `DOWN` for HAProxy, by its own check."""
        async with httpx.AsyncClient(timeout=PATIENCE_S) as http, patience():
            while True:
                with contextlib.suppress(httpx.ConnectError):
                    page = (await http.get(f"{self.address}/stats;csv")).text
                    rows = csv.DictReader(page.removeprefix("# ").splitlines())
                    found = next(row for row in rows if row["svname"] == f"r{port}")
                    if found["status"] == state and found["check_status"].startswith("L7"):
                        return
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def load(address: str, user: Client) -> AsyncIterator[Counter[str]]:
    """Clients of the user that ask one request after the other. Yields what they got."""
    outcomes: Counter[str] = Counter()

    async def ask(name: str) -> NoReturn:
        async with httpx.AsyncClient(timeout=PATIENCE_S, headers=user.headers) as http:
            for number in itertools.count():
                outcomes[await created(http, f"{address}/graphql", f"{name} {number}")] += 1
        raise AssertionError

    clients = [asyncio.create_task(ask(f"client {number}")) for number in range(CLIENTS)]
    try:
        await grown(outcomes)
        yield outcomes
    finally:
        await cancel_all(clients)


async def created(http: httpx.AsyncClient, url: str, title: str) -> str:
    body = {"query": CREATE, "variables": {"input": {"title": title}}}
    try:
        answer = await http.post(url, json=body)
    except httpx.HTTPError as error:
        return repr(error)
    made = answer.status_code == 200 and title in answer.text
    return "created" if made else f"{answer.status_code} {answer.text}"


async def grown(outcomes: Counter[str]) -> None:
    """Returns after some more requests of each client."""
    enough = outcomes.total() + 10 * CLIENTS
    async with patience():
        while outcomes.total() < enough:  # noqa: ASYNC110 - the clients run beside
            await asyncio.sleep(0.01)


@needs_haproxy
async def test_rolling_restart_fails_no_request(
    open_replica: OpenReplica, add_user: AddUser, tmp_path: Path
) -> None:
    ports = [free_port() for _ in range(3)]
    balancer = Balancer(tmp_path, ports)
    async with contextlib.AsyncExitStack() as every:
        enter = every.enter_async_context
        stacks = {port: await enter(contextlib.AsyncExitStack()) for port in ports}
        replicas: dict[int, Replica] = {}

        async def start(port: int) -> None:
            opened = open_replica(port=port, drain_seconds=FOREVER_S)
            replicas[port] = await stacks[port].enter_async_context(opened)

        async def stop(port: int) -> None:
            server = replicas[port].server
            server.drain()
            await balancer.finds(port, "DOWN")
            server.should_exit = True
            await stacks[port].aclose()

        for port in ports:
            await start(port)
        await enter(balancer.running())
        for port in ports:
            await balancer.finds(port, "UP")
        ann = (await replicas[ports[0]].person(await add_user("Ann"))).client
        async with load(balancer.address, ann) as outcomes:
            for port in ports:
                await stop(port)
                await grown(outcomes)
                await start(port)
                await balancer.finds(port, "UP")
                await grown(outcomes)
        for port in ports:
            replicas[port].server.should_exit = True
    assert set(outcomes) == {"created"}, outcomes
