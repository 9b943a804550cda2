"""Tunnels through a real SSH server in its own process to PostgreSQL."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import psycopg
import pytest

from db.connections import pem
from db.errors import BadInput, Forbidden, HowdahError
from db.workbench.connections import connector as module
from db.workbench.connections.connection_errors import HostKeyUnconfirmed, Unreachable
from db.workbench.connections.connector import Connector
from db.workbench.connections.targets.destinations import Bastion
from db.workbench.connections.targets.network_policy import Reach, Targets
from db.workbench.connections.tunnels import ssh_tunnels
from db.workbench.connections.tunnels.ssh_tunnels import LOOPBACK
from tests.fixtures.bastion import PASSPHRASE, PASSWORD, SshServer, running_ssh
from tests.fixtures.patience import patience
from tests.fixtures.ports import free_port
from tests.fixtures.targets import CANARY, Target, silent, speaking


@contextlib.asynccontextmanager
async def laid(
    target: Target, bastion: Bastion, targets: Targets, **changes: Any
) -> AsyncIterator[Connector]:
    connector = Connector(target.destination(bastion=bastion, **changes), targets)
    try:
        yield connector
    finally:
        await connector.close()


async def ending(reader: asyncio.StreamReader) -> bytes:
    """What the other side sends until it ends the connection, also by a reset."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def works(connector: Connector) -> None:
    connection = await connector.connect()
    found = await (await connection.execute("SELECT current_user")).fetchone()
    await connection.close()
    assert found == ("ada",)


async def refusal(target: Target, bastion: Bastion, targets: Targets) -> HowdahError:
    async with laid(target, bastion, targets) as connector:
        with pytest.raises(HowdahError) as caught:
            await connector.connect()
    shown = f"{caught.value.message} {caught.value.hint} {caught.value!r}"
    assert not [secret for secret in (PASSWORD, PASSPHRASE, CANARY) if secret in shown]
    return caught.value


def keyed(server: SshServer, **changes: Any) -> Bastion:
    """With the key as it is stored: without its passphrase."""
    usual = {"private_key": pem.private_key(server.private_key, PASSPHRASE), "password": None}
    return server.bastion(auth_method="PRIVATE_KEY", **(usual | changes))


async def test_tunnel_with_password(
    ssh_server: SshServer, target: Target, targets: Targets
) -> None:
    async with laid(target, ssh_server.bastion(), targets) as connector:
        await works(connector)
        await works(connector)


async def test_tunnel_with_key(ssh_server: SshServer, target: Target, targets: Targets) -> None:
    async with laid(target, keyed(ssh_server), targets) as connector:
        await works(connector)


@pytest.mark.parametrize(("host", "field"), [("localhost", None), ("127.0.0.1", "host")])
async def test_tunnel_verifies_database_host_name(
    ssh_server: SshServer, target: Target, targets: Targets, host: str, field: str | None
) -> None:
    verifying = {"ssl_mode": "VERIFY_FULL", "ssl_root_certificate": target.certificate}
    async with laid(target, ssh_server.bastion(), targets, host=host, **verifying) as connector:
        if field is None:
            await works(connector)
            assert connector.facts is not None
            assert connector.facts.tls is not None
            return
        with pytest.raises(BadInput) as caught:
            await connector.connect()
        assert caught.value.field == field


async def test_unknown_host_key_is_shown(
    ssh_server: SshServer, target: Target, targets: Targets
) -> None:
    error = await refusal(target, ssh_server.bastion(fingerprint=None), targets)
    assert isinstance(error, HostKeyUnconfirmed)
    assert error.fingerprint == ssh_server.fingerprint
    assert ssh_server.fingerprint in error.message
    assert "not confirmed" in error.message


async def test_changed_host_key_is_refused_before_password(
    ssh_server: SshServer, target: Target, targets: Targets
) -> None:
    offered: list[str] = []

    class Impostor(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            offered.append(username)
            return True

    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen(LOOPBACK, 0, server_factory=Impostor, server_host_keys=[key])
    async with server:
        error = await refusal(target, ssh_server.bastion(port=server.get_port()), targets)
    assert isinstance(error, HostKeyUnconfirmed)
    assert "another key than before" in error.message
    assert error.fingerprint == key.get_fingerprint("sha256")
    assert offered == []


@pytest.mark.parametrize(
    "changes", [{"password": "wrong"}, {"password": None}, {"username": "bob"}]
)
async def test_refused_login_is_reported(
    ssh_server: SshServer, target: Target, targets: Targets, changes: dict[str, Any]
) -> None:
    error = await refusal(target, ssh_server.bastion(**changes), targets)
    assert (error.code, error.field) == ("BAD_USER_INPUT", "sshTunnel")


async def test_unauthorised_key_is_refused(
    ssh_server: SshServer, target: Target, targets: Targets
) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    error = await refusal(target, keyed(ssh_server, private_key=other), targets)
    assert (error.code, error.field) == ("BAD_USER_INPUT", "sshTunnel")
    unread = await refusal(target, keyed(ssh_server, private_key="none"), targets)
    assert unread.field == "sshTunnel.privateKey"


async def test_account_keys_are_not_offered(
    ssh_server: SshServer,
    target: Target,
    targets: Targets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The account could log in by its own key and would trust any host: neither is used."""
    ours = tmp_path / ".ssh"
    ours.mkdir(mode=0o700)
    key = asyncssh.import_private_key(ssh_server.private_key, PASSPHRASE)
    key.write_private_key(ours / "id_ed25519")
    (ours / "config").write_text("Host *\n  User bob\n  Port 1\n  StrictHostKeyChecking no\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    error = await refusal(target, ssh_server.bastion(password="wrong"), targets)
    assert error.field == "sshTunnel"
    error = await refusal(target, ssh_server.bastion(fingerprint=None), targets)
    assert isinstance(error, HostKeyUnconfirmed)
    async with laid(target, ssh_server.bastion(), targets) as connector:
        await works(connector)


async def test_refused_forwarding_is_reported(
    target: Target, targets: Targets, tmp_path: Path
) -> None:
    async with running_ssh(tmp_path, forwards=False) as server:
        error = await refusal(target, server.bastion(), targets)
    assert isinstance(error, Unreachable)
    assert "through the tunnel" in error.message
    assert "accepts the tunnel" in error.hint


async def test_unreachable_ssh_server_is_reported(
    ssh_server: SshServer, target: Target, targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TUNNEL_S", 0.3)
    absent = await refusal(target, ssh_server.bastion(port=free_port()), targets)
    async with speaking(silent) as port:
        black_hole = await refusal(target, ssh_server.bastion(port=port), targets)
    no_ssh = await refusal(target, ssh_server.bastion(port=target.port), targets)
    for error in (absent, black_hole, no_ssh):
        assert isinstance(error, Unreachable)
        assert error.message.startswith("No SSH server answered")


async def test_network_policy_applies_to_ssh_server(ssh_server: SshServer, target: Target) -> None:
    public = Targets(Reach())
    assert isinstance(await refusal(target, ssh_server.bastion(), public), Forbidden)
    public.close()


async def test_tunnel_port_is_not_usable_by_other_connections(
    ssh_server: SshServer, target: Target, targets: Targets
) -> None:
    async with laid(target, ssh_server.bastion(), targets) as connector:
        await works(connector)
        assert connector._tunnel is not None
        ask_for_tls = (
            "import socket,sys; s=socket.create_connection(('127.0.0.1',int(sys.argv[1])));"
        )
        ask_for_tls += "s.sendall(b'\\0\\0\\0\\x08\\x04\\xd2\\x16\\x2f'); print(s.recv(1))"
        stranger = await asyncio.create_subprocess_exec(
            *("python3", "-c", ask_for_tls, str(connector._tunnel.port)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        heard, _ = await stranger.communicate()
        assert heard.strip() in {b"", b"b''"}
        reader, writer = await asyncio.open_connection(LOOPBACK, connector._tunnel.port)
        writer.write(b"\0\0\0\x08\x04\xd2\x16\x2f")
        assert await ending(reader) == b"", "this process may use its announced connections only"
        writer.close()


async def test_broken_tunnel_is_reopened(target: Target, targets: Targets, tmp_path: Path) -> None:
    async with running_ssh(tmp_path) as first:
        bastion = first.bastion()
        async with laid(target, bastion, targets) as connector:
            await works(connector)
            await first.kill()
            async with running_ssh(tmp_path, port=bastion.port), patience():
                await works(connector)


async def test_silent_tunnel_ends_statement(
    target: Target, targets: Targets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ssh_tunnels.KEEPALIVE_S * (ssh_tunnels.KEEPALIVES + 1) <= 30
    monkeypatch.setitem(ssh_tunnels._ISOLATED, "keepalive_interval", 0.1)
    async with (
        running_ssh(tmp_path) as server,
        laid(target, server.bastion(), targets) as connector,
    ):
        connection = await connector.connect()
        server.process.send_signal(signal.SIGSTOP)
        async with patience():
            with pytest.raises(psycopg.OperationalError):
                await connection.execute("SELECT pg_sleep(60)")
        server.process.send_signal(signal.SIGCONT)
        await connection.close()
        await works(connector)
    await target.script(  # PostgreSQL itself notices only when it has slept
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name = 'howdah'"
    )


async def test_closed_tunnel_leaves_no_port(
    ssh_server: SshServer, target: Target, targets: Targets
) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    async with laid(target, ssh_server.bastion(), targets) as connector:
        await works(connector)
        assert connector._tunnel is not None
        port = connector._tunnel.port
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(LOOPBACK, port)
    assert len(list(Path("/dev/fd").iterdir())) <= before


def test_ssh_errors_show_no_secret(ssh_server: SshServer) -> None:
    shown = repr(replace(keyed(ssh_server), password=PASSWORD))
    assert not [word for word in (PASSWORD, PASSPHRASE, "PRIVATE KEY--") if word in shown]
