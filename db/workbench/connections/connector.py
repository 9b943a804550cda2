"""Connects to one destination, through its SSH tunnel and with its certificates."""

import asyncio
import ssl
import tempfile
from collections import Counter
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from math import inf
from pathlib import Path

import psycopg

from db.concurrency.waiting import drop_error
from db.connections import SslMode
from db.errors import HowdahError
from db.workbench.connections import libpq
from db.workbench.connections.bounds.read_budget import LargeRowSlot
from db.workbench.connections.connection_errors import (
    Unreachable,
    connection_error,
    tunnel_unreachable,
    unreachable,
)
from db.workbench.connections.foreign_cluster import require_foreign
from db.workbench.connections.targets.destinations import Bastion, Destination
from db.workbench.connections.targets.network_policy import Targets
from db.workbench.connections.tunnels.ssh_tunnels import LOOPBACK, Tunnel
from db.workbench.connections.values import ProbeResult

CONNECT_S = 10.0
TUNNEL_S = 7.0
# Below REQUIRE libpq takes a certificate that does not verify as a reason for clear text.
_VERIFYING = {SslMode.REQUIRE, SslMode.VERIFY_CA, SslMode.VERIFY_FULL}


class Connector:
    """Opens connections. Each resolves the host again, or uses the connector's tunnel."""

    def __init__(
        self,
        destination: Destination,
        targets: Targets,
        make_slot: Callable[[], LargeRowSlot] = LargeRowSlot.alone,
        *,
        lifetime_s: float | None = None,
        outcomes: Counter[str] | None = None,
        user: Hashable = None,
    ) -> None:
        """`make_slot` returns the slot of one more connection, of the budget of its user.

        The secrets of the destination expire after `lifetime_s`. `outcomes` counts the attempts to
        connect by `OK` or the code of the error. `user` is who has the tunnel.
        """
        self._user = user
        self._outcomes: Counter[str] = Counter() if outcomes is None else outcomes
        self.destination = destination
        now = asyncio.get_running_loop().time()
        self.expires_at = inf if lifetime_s is None else now + lifetime_s
        self._make_slot = make_slot
        self.facts: libpq.ServerFacts | None = None
        self._targets = targets
        self._tunnel: Tunnel | None = None
        self._opening_tunnel = asyncio.Lock()
        self._files = ExitStack()
        self._certificates = self._write_certificates()

    @property
    def has_tunnel(self) -> bool:
        return self._tunnel is not None and self._tunnel.is_open

    async def connect(self) -> libpq.Connection:
        """Returns a connection that has answered a query, or raises within `CONNECT_S`."""
        try:
            connection = await self._connect_and_identify()
        except HowdahError as error:
            self._outcomes[error.code] += 1
            raise
        self._outcomes["OK"] += 1
        return connection

    async def _connect_and_identify(self) -> libpq.Connection:
        deadline = asyncio.get_running_loop().time() + CONNECT_S
        try:
            async with asyncio.timeout_at(deadline):
                connection = await self._connect(deadline)
        except TimeoutError:
            raise unreachable(self.destination) from None
        asking = asyncio.create_task(self._identify(connection), name="connections: login")
        asking.add_done_callback(drop_error)
        try:
            with libpq.abort_after(connection, deadline - asyncio.get_running_loop().time()):
                self.facts = await asyncio.shield(asking)
        except BaseException as error:
            connection.cut()  # a cancelled statement of psycopg waits for the server
            await asyncio.wait([asking])
            connection.finish()
            if isinstance(error, psycopg.Error):
                raise unreachable(self.destination) from None
            raise
        connection.takes_large_rows = True
        return connection

    async def _identify(self, connection: libpq.Connection) -> libpq.ServerFacts:
        facts = await libpq.facts_of(connection)
        own, host = self._targets.own_cluster, self.destination.host
        await require_foreign(connection, own, host=host)
        return facts

    async def measure(self) -> ProbeResult:
        """Connects once."""
        started = asyncio.get_running_loop().time()
        connection = await self.connect()
        latency_ms = (asyncio.get_running_loop().time() - started) * 1000
        await connection.close()
        assert self.facts is not None  # noqa: S101 - set by `connect`
        return ProbeResult(self.facts.server_version, round(latency_ms, 3), self.facts.tls)

    async def close(self) -> None:
        tunnel, self._tunnel = self._tunnel, None
        try:
            if tunnel is not None:
                await tunnel.close()
        finally:
            self._files.close()

    async def _connect(self, deadline: float) -> libpq.Connection:
        addresses, port = await self._addresses()
        for tried, address in enumerate(addresses):
            left_s = deadline - asyncio.get_running_loop().time()
            try:
                return await libpq.connect(
                    self.destination,
                    address=address,
                    port=port,
                    root_certificates=self._certificates,
                    timeout_s=left_s / (len(addresses) - tried),
                    slot=self._make_slot(),
                    announce=self._tunnel.admit if self._tunnel else None,
                )
            except psycopg.Error as error:
                failure = connection_error(error, self.destination)
                if not isinstance(failure, Unreachable):
                    raise failure from None
        raise unreachable(self.destination)

    async def _addresses(self) -> tuple[list[str], int]:
        """Addresses and port to connect to."""
        destination = self.destination
        if destination.bastion is None:
            addresses = await self._targets.resolve(
                destination.host, destination.port, user=self._user
            )
            return addresses, destination.port
        tunnel = await self._open_tunnel(destination.bastion)
        return [LOOPBACK], tunnel.port

    async def _open_tunnel(self, bastion: Bastion) -> Tunnel:
        """Opens the tunnel, or opens it again if it was closed."""
        async with self._opening_tunnel:
            if self._tunnel is None or not self._tunnel.is_open:
                try:
                    async with asyncio.timeout(TUNNEL_S):
                        self._tunnel = await Tunnel.open(
                            self.destination, bastion, self._targets, user=self._user
                        )
                except TimeoutError:
                    raise tunnel_unreachable(bastion) from None
            return self._tunnel

    def _write_certificates(self) -> Path | None:
        """Writes the file that libpq needs. `close` removes it."""
        destination = self.destination
        if destination.ssl_mode not in _VERIFYING:
            return None
        if destination.ssl_root_certificate:
            folder = tempfile.TemporaryDirectory(prefix="howdah-")
            file = Path(self._files.enter_context(folder), "authorities.pem")
            file.write_text(destination.ssl_root_certificate, encoding="ascii")
            return file
        return _public_authorities() if destination.ssl_mode == SslMode.VERIFY_FULL else None


def _public_authorities() -> Path:
    """Returns the system's certificate authorities, else those of `certifi`."""
    if system := ssl.get_default_verify_paths().cafile:
        return Path(system)
    import certifi  # comes with httpx

    return Path(certifi.where())
