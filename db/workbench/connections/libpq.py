"""Connects through libpq with what the user gave, and with nothing of this server's account.

libpq fills what is missing from the environment (PGPASSWORD, PGSERVICE, PGOPTIONS ...) and from
files of the account (~/.pgpass, ~/.postgresql/*). An empty value counts as missing, so every
parameter that has such a source is given, and the variables are hidden from it.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import psycopg

from db.connections import SslMode
from db.workbench.connections.destinations import Destination

Connection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]

_NO_FILE = f"{os.devnull}/none"
# A password goes out in clear text only inside TLS that has proved whose server it is.
_SAFE = "scram-sha-256,md5,none"
_CLEAR = "scram-sha-256,md5,password,none"

_ALWAYS: dict[str, Any] = {
    "application_name": "howdah",
    "client_encoding": "utf8",
    "passfile": _NO_FILE,
    "sslcertmode": "disable",
    "sslcrl": _NO_FILE,
    "sslnegotiation": "postgres",
    "sslcompression": "0",
    "sslsni": "1",
    "ssl_min_protocol_version": "TLSv1.2",
    "gssencmode": "disable",
    "channel_binding": "prefer",
    "target_session_attrs": "any",
    "load_balance_hosts": "disable",
    # A cable that was pulled is noticed also while nothing is said.
    "keepalives": "1",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}


class Facts(NamedTuple):
    """What a connection tells of its server; `tls` is protocol and cipher, None in clear text."""

    server_version: str
    tls: str | None
    connected_at: datetime


async def connect(
    destination: Destination,
    *,
    address: str,
    port: int,
    root_certificates: Path | None,
    timeout_s: float,
) -> Connection:
    """To `address`, while it is `destination.host` that a certificate must name."""
    _hide_environment()
    password: dict[str, Any] = {"password": destination.password} if destination.password else {}
    connection = await psycopg.AsyncConnection.connect(
        **_ALWAYS,
        host=destination.host,
        hostaddr=address,
        port=port,
        dbname=destination.database,
        user=destination.username,
        sslmode=destination.ssl_mode.lower().replace("_", "-"),
        sslrootcert=str(root_certificates or _NO_FILE),
        require_auth=_CLEAR if destination.ssl_mode == SslMode.VERIFY_FULL else _SAFE,
        connect_timeout=max(1, round(timeout_s)),
        autocommit=True,
        prepare_threshold=None,
        **password,
    )
    connection.add_notify_handler(_forget)
    return connection


async def facts_of(connection: Connection) -> Facts:
    """Asks the server something, so that one that never answers is not taken for a database."""
    version = connection.pgconn.parameter_status(b"server_version") or b""
    tls = "TLS" if connection.pgconn.ssl_in_use else None
    try:
        found = await connection.execute(
            "SELECT version || ' ' || cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        )
        row = await found.fetchone()
    except psycopg.Error:
        if connection.closed:
            raise
        row = None  # not every server that speaks PostgreSQL has this view
    known = row[0] if tls and row else None
    return Facts(version.decode(errors="replace"), known or tls, datetime.now(UTC))


@contextlib.contextmanager
def abort_after(connection: Connection, seconds: float) -> Iterator[None]:
    """The time limit of what runs in the block: then it fails, whatever the server does.

    A cancelled statement of psycopg's waits until the server has agreed: `asyncio.timeout` alone
    would wait for ever on one that says nothing.
    """
    timer = asyncio.get_running_loop().call_later(seconds, cut, connection)
    try:
        yield
    finally:
        timer.cancel()


def cut(connection: Connection) -> None:
    """Whoever waits on it wakes with an error; the descriptor stays theirs to close."""
    with (
        contextlib.suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as end,
    ):
        end.shutdown(socket.SHUT_RDWR)


def _forget(_notification: psycopg.Notify) -> None:
    """Without a handler psycopg keeps all that a server sends, however much that is."""


def _hide_environment() -> None:
    """From libpq alone, which asks the C library; `os.environ` keeps them for our own database."""
    for name in os.environ:
        if name.startswith("PG"):
            os.unsetenv(name)
