"""SSH tunnels, opened per owner and usable by the connections of that owner only."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from typing import Any

import asyncssh

from db.concurrency.waiting import TaskSet, cancel_all
from db.connections import SshAuthMethod
from db.errors import BadInput
from db.workbench.connections.connection_errors import (
    HostKeyUnconfirmed,
    host_key_unconfirmed,
    tunnel_refused,
    tunnel_unreachable,
)
from db.workbench.connections.targets.destinations import Bastion, Destination
from db.workbench.connections.targets.network_policy import Targets
from db.workbench.connections.tunnels.ssh_budget import SshBudget
from db.workbench.connections.tunnels.tunnel_thread import TunnelThread

# asyncssh logs the hosts of users; errors reach the user through `connection_errors`.
logging.getLogger("asyncssh").setLevel(logging.ERROR)

LOOPBACK = "127.0.0.1"
# A dropped tunnel is detected after 30 s: three keepalive intervals.
KEEPALIVE_S = 10
KEEPALIVES = 2
CLOSE_S = 2.0
ADMIT_S = 1.0
"""How long a connection to the forwarded port waits until it is announced."""
PIECE_BYTES = 64 * 1024


class Tunnel:
    """One SSH connection in a thread of its own, and a loopback port that leads to the database.

    TLS needs a TCP port, and every program of the machine can connect to a loopback port. So only
    connections that `admit` has announced are forwarded, each once.
    """

    def __init__(self, thread: TunnelThread, destination: Destination, bastion: Bastion) -> None:
        self.port = 0
        self._thread = thread
        self._destination = destination
        self._bastion = bastion
        self._budget = SshBudget(thread.rest)
        self._connection: asyncssh.SSHClientConnection | None = None
        self._tasks = TaskSet()
        self._admissions: dict[int, asyncio.Future[None]] = {}

    @classmethod
    async def open(
        cls,
        destination: Destination,
        bastion: Bastion,
        targets: Targets,
        *,
        user: Hashable = None,
    ) -> "Tunnel":
        addresses = await targets.resolve(bastion.host, bastion.port, user=user)
        by_key = bastion.auth_method == SshAuthMethod.PRIVATE_KEY
        keys = [await _load_key(bastion)] if by_key else []
        thread = await TunnelThread.start(user)
        tunnel = cls(thread, destination, bastion)
        try:
            await thread.run(tunnel._listen(addresses, keys))
        except BaseException:
            tunnel.terminate()
            raise
        return tunnel

    @property
    def is_open(self) -> bool:
        connection = self._connection
        return self._thread.is_running and connection is not None and not connection.is_closed()

    async def close(self) -> None:
        self.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._thread.wait_stopped()

    def terminate(self) -> None:
        self._thread.stop()

    def admit(self, port: int) -> None:
        """Forwards one connection from this local port, made by the owner of the tunnel."""
        if self._thread.is_running:
            self._thread.loop.call_soon_threadsafe(self._admit, port)

    async def _listen(self, addresses: Sequence[str], keys: Sequence[asyncssh.SSHKey]) -> None:
        self._connection = await _connect(self._bastion, addresses, keys, self._budget)
        self._budget.log_in()
        server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._watching = asyncio.create_task(self._close_with_connection(server))

    async def _close_with_connection(self, server: asyncio.Server) -> None:
        """Closes the port when the SSH connection ends, and the connection with the thread."""
        assert self._connection is not None  # noqa: S101 - set by `_listen`
        try:
            await self._connection.wait_closed()
            self._thread.stop()
        finally:
            server.close()
            self._connection.abort()

    def _admit(self, port: int) -> None:
        admission = self._admission(port)
        if not admission.done():
            admission.set_result(None)
        asyncio.get_running_loop().call_later(ADMIT_S, self._forget, port, admission)

    def _admission(self, port: int) -> "asyncio.Future[None]":
        """A connection may arrive before it is announced, and the other way round."""
        if port not in self._admissions:
            self._admissions[port] = asyncio.get_running_loop().create_future()
        return self._admissions[port]

    def _forget(self, port: int, admission: "asyncio.Future[None]") -> None:
        if self._admissions.get(port) is admission:
            del self._admissions[port]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Starts a task of its own: asyncio logs the cancellation of a coroutine given here."""
        self._tasks.start(self._serve(reader, writer), name="ssh tunnel")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("peername")[1]
        admission = self._admission(port)
        try:
            async with asyncio.timeout(ADMIT_S):
                await admission
            self._forget(port, admission)
            await self._forward(reader, writer)
        except (TimeoutError, OSError, asyncssh.Error):
            pass
        finally:
            self._forget(port, admission)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copies both ways until one side ends."""
        assert self._connection is not None  # noqa: S101 - set by `_listen`
        far_reader, far_writer = await self._connection.open_connection(
            self._destination.host, self._destination.port, encoding=None
        )
        both = [
            asyncio.create_task(_copy(reader, far_writer)),
            asyncio.create_task(_copy(far_reader, writer, self._budget.deliver)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_all(both)
            far_writer.close()


async def _copy(
    reader: "asyncio.StreamReader | asyncssh.SSHReader[bytes]",
    writer: "asyncio.StreamWriter | asyncssh.SSHWriter[bytes]",
    deliver: Callable[[int], None] | None = None,
) -> None:
    while data := await reader.read(PIECE_BYTES):
        if deliver is not None:
            deliver(len(data))
        writer.write(data)
        await writer.drain()


class _PinnedClient(asyncssh.SSHClient):
    """Accepts the confirmed host key only. No credentials are sent before the check."""

    def __init__(self, bastion: Bastion, budget: SshBudget) -> None:
        self._bastion = bastion
        self._budget = budget
        self.refusal: HostKeyUnconfirmed | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._budget.watch(conn)

    def validate_host_public_key(
        self, _host: str, _addr: str, _port: int, key: asyncssh.SSHKey
    ) -> bool:
        fingerprint = key.get_fingerprint("sha256")
        if fingerprint != self._bastion.fingerprint:
            self.refusal = host_key_unconfirmed(self._bastion, fingerprint)
        return self.refusal is None


async def _connect(
    bastion: Bastion,
    addresses: Sequence[str],
    keys: Sequence[asyncssh.SSHKey],
    budget: SshBudget,
) -> asyncssh.SSHClientConnection:
    client = _PinnedClient(bastion, budget)
    async with _login(bastion, keys) as login:
        for address in addresses:
            try:
                return await asyncssh.connect(
                    address, bastion.port, client_factory=lambda: client, **_ISOLATED, **login
                )
            except asyncssh.PermissionDenied:
                raise tunnel_refused(bastion) from None
            except (OSError, asyncssh.Error):
                if client.refusal is not None:
                    raise client.refusal from None
                if budget.is_exceeded:
                    break
    raise tunnel_unreachable(bastion)


# Uses nothing of the account that runs Howdah: no configuration, keys, agent, tickets or hosts.
_ISOLATED: dict[str, Any] = {
    "config": None,
    "known_hosts": ([], [], []),
    "x509_trusted_certs": [],
    "x509_trusted_cert_paths": [],
    "agent_path": None,
    "agent_forwarding": False,
    "host_based_auth": False,
    "gss_kex": False,
    "gss_auth": False,
    "compression_algs": None,
    # Finite-field key exchange takes up to seconds of CPU time with the interpreter locked, as
    # often as the server wishes, and the server chooses the size of a group exchange.
    "kex_algs": [
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
    ],
    "keepalive_interval": KEEPALIVE_S,
    "keepalive_count_max": KEEPALIVES,
}


@contextlib.asynccontextmanager
async def _login(
    bastion: Bastion, keys: Sequence[asyncssh.SSHKey]
) -> AsyncIterator[dict[str, Any]]:
    """Options for the chosen authentication method only; an agent stays open in the block."""
    by_password = bastion.auth_method == SshAuthMethod.PASSWORD
    login: dict[str, Any] = {
        "username": bastion.username,
        "client_keys": None,
        "password": (bastion.password or "") if by_password else None,
        "public_key_auth": not by_password,
        "password_auth": by_password,
        "kbdint_auth": by_password,
    }
    if by_password:
        yield login
    elif bastion.auth_method == SshAuthMethod.AGENT:
        async with _agent() as agent_keys:
            yield login | {"client_keys": agent_keys}
    else:
        yield login | {"client_keys": keys}


async def _load_key(bastion: Bastion) -> asyncssh.SSHKey:
    """Parses the key in a thread. It is stored decrypted and validated (`pem`)."""
    try:
        return await asyncio.to_thread(
            asyncssh.import_private_key,
            bastion.private_key or "",
            unsafe_skip_rsa_key_validation=True,
        )
    except (asyncssh.KeyImportError, ValueError):
        raise BadInput(
            "The private key of the tunnel cannot be read.",
            hint="Save the key again, with its passphrase if it has one.",
            field="sshTunnel.privateKey",
        ) from None


@contextlib.asynccontextmanager
async def _agent() -> AsyncIterator[Sequence[Any]]:
    """The keys of the developer's agent; `check_connection` refuses it on shared servers."""
    keys: Sequence[Any] = ()
    async with contextlib.AsyncExitStack() as stack:
        with contextlib.suppress(OSError, asyncssh.Error, ValueError):
            agent = await asyncssh.connect_agent(os.environ.get("SSH_AUTH_SOCK", ""))
            await stack.enter_async_context(agent)
            keys = await agent.get_keys()
        if not keys:
            raise BadInput(
                "No SSH agent with a key is available.",
                hint="Start an agent and `ssh-add` a key, then start Howdah from the same shell.",
                field="sshTunnel.authMethod",
            )
        yield keys
