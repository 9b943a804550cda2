"""SSH tunnels, opened per owner and usable by this process only."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import asyncssh

from db.connections import SshAuthMethod
from db.errors import BadInput
from db.workbench.connections.connection_errors import (
    HostKeyUnconfirmed,
    host_key_unconfirmed,
    tunnel_refused,
    tunnel_unreachable,
)
from db.workbench.connections.destinations import Bastion, Destination
from db.workbench.connections.network_policy import Targets

# asyncssh logs the hosts of users; errors reach the user through `connection_errors`.
logging.getLogger("asyncssh").setLevel(logging.ERROR)

LOOPBACK = "127.0.0.1"
# A dropped tunnel is detected after 30 s: three keepalive intervals.
KEEPALIVE_S = 10
KEEPALIVES = 2
CLOSE_S = 2.0


class Tunnel:
    """One SSH connection, with a loopback port that is forwarded to the database."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self._connection = connection
        self.port = 0

    @classmethod
    async def open(cls, destination: Destination, bastion: Bastion, targets: Targets) -> "Tunnel":
        tunnel = cls(await _connect(bastion, targets))
        try:
            listener = await tunnel._connection.forward_local_port(
                LOOPBACK, 0, destination.host, destination.port, accept_handler=_is_own_process
            )
        except BaseException:
            tunnel.terminate()
            raise
        tunnel.port = listener.get_port()
        return tunnel

    @property
    def is_open(self) -> bool:
        return not self._connection.is_closed()

    async def close(self) -> None:
        self._connection.close()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._connection.wait_closed()
        except TimeoutError:
            self.terminate()

    def terminate(self) -> None:
        self._connection.abort()


class _PinnedClient(asyncssh.SSHClient):
    """Accepts the confirmed host key only. No credentials are sent before the check."""

    def __init__(self, bastion: Bastion) -> None:
        self._bastion = bastion
        self.refusal: HostKeyUnconfirmed | None = None

    def validate_host_public_key(
        self, _host: str, _addr: str, _port: int, key: asyncssh.SSHKey
    ) -> bool:
        fingerprint = key.get_fingerprint("sha256")
        if fingerprint != self._bastion.fingerprint:
            self.refusal = host_key_unconfirmed(self._bastion, fingerprint)
        return self.refusal is None


async def _connect(bastion: Bastion, targets: Targets) -> asyncssh.SSHClientConnection:
    addresses = await targets.resolve(bastion.host, bastion.port)
    client = _PinnedClient(bastion)
    async with _login(bastion) as login:
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
    "keepalive_interval": KEEPALIVE_S,
    "keepalive_count_max": KEEPALIVES,
}


@contextlib.asynccontextmanager
async def _login(bastion: Bastion) -> AsyncIterator[dict[str, Any]]:
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
        async with _agent() as keys:
            yield login | {"client_keys": keys}
    else:
        yield login | {"client_keys": [await _load_key(bastion)]}


async def _load_key(bastion: Bastion) -> asyncssh.SSHKey:
    """Parses the key in a thread. The workbench passes it decrypted and validated (`pem`)."""
    try:
        return await asyncio.to_thread(
            asyncssh.import_private_key,
            bastion.private_key or "",
            bastion.passphrase,
            unsafe_skip_rsa_key_validation=True,
        )
    except (asyncssh.KeyImportError, ValueError):
        raise BadInput(
            "The private key of the tunnel cannot be decrypted.",
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


def _is_own_process(host: str, port: int) -> bool:
    """Whether the peer of a connection to the forwarded port is this process.

    TLS needs a TCP port, and every user of the machine can connect to a loopback port.
    """
    for entry in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError), _duplicate(int(entry.name)) as local:
            if local.getsockname()[:2] == (host, port):
                return True
    return False


def _duplicate(descriptor: int) -> socket.socket:
    """Closing the duplicate keeps the original open. Raises OSError if it is no socket."""
    duplicate = os.dup(descriptor)
    try:
        return socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        raise
