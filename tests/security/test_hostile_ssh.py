"""SSH servers that keep their tunnel busy, and users who try to enter a tunnel of another."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from db.concurrency.fair_slots import FairSlots
from db.errors import Overloaded
from db.workbench.connections.connection_errors import Unreachable
from db.workbench.connections.connector import Connector
from db.workbench.connections.targets.network_policy import Targets
from db.workbench.connections.tunnels import tunnel_thread
from db.workbench.connections.tunnels.ssh_budget import PIECE_BYTES, SshBudget
from db.workbench.connections.tunnels.ssh_tunnels import LOOPBACK
from db.workbench.connections.tunnels.tunnel_thread import TunnelThread
from tests.fixtures.bastion import SshServer, running_ssh
from tests.fixtures.patience import patience
from tests.fixtures.ssh_flood import flooding_ssh
from tests.fixtures.targets import Target

LONGEST_PAUSE_S = 1.0


@contextlib.asynccontextmanager
async def connecting(
    target: Target, targets: Targets, server: SshServer, **changes: object
) -> AsyncIterator[Connector]:
    connector = Connector(target.destination(bastion=server.bastion(**changes)), targets)
    try:
        yield connector
    finally:
        await connector.close()


@contextlib.asynccontextmanager
async def longest_pause() -> AsyncIterator[list[float]]:
    """The work between two steps of the event loop while the block runs, longest last.

    In seconds of CPU of all threads: other processes and a paused machine do not count.
    """
    pauses = [0.0]

    async def watch() -> None:
        before = time.process_time()
        while True:
            await asyncio.sleep(0.001)
            now = time.process_time()
            pauses.append(max(pauses[-1], now - before))
            before = now

    watching = asyncio.create_task(watch())
    try:
        yield pauses
    finally:
        watching.cancel()


async def query(connector: Connector) -> None:
    connection = await connector.connect()
    await connection.execute("SELECT 1")
    await connection.close()


async def test_packets_before_login_delay_nobody_and_end(
    target: Target, targets: Targets, ssh_server: SshServer
) -> None:
    async with (
        flooding_ssh() as port,
        longest_pause() as pauses,
        connecting(target, targets, ssh_server, port=port) as connector,
    ):
        attempt = asyncio.create_task(connector.connect())
        await query(Connector(target.destination(), targets))
        with pytest.raises(Unreachable):
            await attempt
    assert pauses[-1] < LONGEST_PAUSE_S


async def test_packets_after_login_delay_nobody_and_end(
    target: Target, targets: Targets, tmp_path: Path
) -> None:
    async with (
        running_ssh(tmp_path, floods=True) as server,
        longest_pause() as pauses,
        connecting(target, targets, server) as connector,
    ):
        attempt = asyncio.create_task(connector.connect())
        await query(Connector(target.destination(), targets))
        with contextlib.suppress(Unreachable):  # the flood may end the tunnel before
            connection = await attempt
            with pytest.raises(psycopg.OperationalError):
                await connection.execute("SELECT pg_sleep(60)")
            await connection.close()
    assert pauses[-1] < LONGEST_PAUSE_S


async def test_tunnels_run_one_at_a_time() -> None:
    """Threads share the interpreter: the main loop waits for each that wants it."""
    running, most = 0, 0

    async def work() -> None:
        nonlocal running, most
        for _ in range(5):
            running += 1
            most = max(most, running)
            time.sleep(0.002)  # noqa: ASYNC251 - busy, and another thread could run meanwhile
            running -= 1
            await asyncio.sleep(0)

    threads = [await TunnelThread.start() for _ in range(8)]
    await asyncio.gather(*(thread.run(work()) for thread in threads))
    for thread in threads:
        thread.stop()
        await thread.wait_stopped()
    assert most == 1


async def test_user_with_many_tunnels_leaves_some_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tunnel_thread, "_slots", FairSlots("SSH tunnels", total=4))
    threads = [await TunnelThread.start("ada") for _ in range(3)]
    with pytest.raises(Overloaded):
        await TunnelThread.start("ada")
    threads.append(await TunnelThread.start("bob"))
    for thread in threads[:2]:
        thread.stop()
        await thread.wait_stopped()
    threads[:2] = [await TunnelThread.start("ada")]
    for thread in threads:
        thread.stop()
        await thread.wait_stopped()


def test_tunnel_rests_when_its_packets_deliver_nothing() -> None:
    rests: list[float] = []
    budget = SshBudget(rests.append)
    parsed: list[int] = []
    ended: list[bool] = []
    connection = SimpleNamespace(
        data_received=lambda data, _: parsed.append(len(data)), abort=lambda: ended.append(True)
    )
    budget.watch(connection)  # type: ignore[arg-type]  # what the budget needs of a connection
    budget.log_in()
    for _ in range(40):  # a result: what is received is delivered
        connection.data_received(bytes(262_144))
        budget.deliver(262_000)
    assert not rests
    parsed.clear()
    while not ended:
        connection.data_received(bytes(262_144))
    assert max(parsed) == PIECE_BYTES
    assert len(rests) > len(parsed) / 2


async def test_large_result_passes_the_packet_budget(
    target: Target, targets: Targets, ssh_server: SshServer
) -> None:
    async with connecting(target, targets, ssh_server) as connector:
        connection = await connector.connect()
        found = await connection.execute("SELECT repeat('x', 8000000), pg_backend_pid()")
        row = await found.fetchone()
        assert row is not None
        assert len(row[0]) == 8_000_000
        await connection.close()


async def test_tunnel_of_another_user_is_closed(
    target: Target, targets: Targets, ssh_server: SshServer
) -> None:
    """The second user has the password of the database, and finds the port of the tunnel."""
    async with connecting(target, targets, ssh_server) as first:
        await query(first)
        assert first._tunnel is not None
        second = Connector(target.destination(host=LOOPBACK, port=first._tunnel.port), targets)
        with pytest.raises(Unreachable):
            await second.connect()
        await second.close()
        await query(first)


async def test_admission_is_used_once(
    target: Target, targets: Targets, ssh_server: SshServer
) -> None:
    async with connecting(target, targets, ssh_server) as connector:
        await query(connector)
        tunnel = connector._tunnel
        assert tunnel is not None
        loop = asyncio.get_running_loop()
        for answer in (b"S", b""):
            with socket.socket() as own:
                own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                own.setblocking(False)
                own.bind((LOOPBACK, 0))
                if answer:
                    tunnel.admit(own.getsockname()[1])
                await loop.sock_connect(own, (LOOPBACK, tunnel.port))
                await loop.sock_sendall(own, b"\0\0\0\x08\x04\xd2\x16\x2f")
                heard = b""
                with contextlib.suppress(ConnectionResetError):
                    heard = await loop.sock_recv(own, 1)
                assert heard == answer


async def test_cancel_request_passes_the_tunnel(
    target: Target, targets: Targets, ssh_server: SshServer
) -> None:
    async with connecting(target, targets, ssh_server) as connector:
        connection = await connector.connect()
        sleeping = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
        async with patience():
            while not sleeping.done():
                await connection.cancel_safe(timeout=2)
                await asyncio.wait({sleeping}, timeout=0.1)
        assert isinstance(sleeping.exception(), psycopg.errors.QueryCanceled)
        await connection.close()
