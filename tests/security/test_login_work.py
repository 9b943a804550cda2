"""The server of a user chooses how long the login and its TLS take to compute."""

import asyncio
import base64
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import psycopg
import pytest

from db.errors import BadInput
from db.workbench.connections.connection_errors import MAX_SCRAM_ITERATIONS, Unreachable
from db.workbench.connections.connector import Connector
from db.workbench.connections.targets.destinations import Destination
from db.workbench.connections.targets.network_policy import Targets
from tests.fixtures.certificates import self_signed
from tests.fixtures.huge_rows import READY, SSL_REQUEST, WELCOME, message
from tests.fixtures.patience import patience

SASL, SASL_CONTINUE = 10, 11
ENDLESS = 2**31 - 1
GROUP = b"\x30\x82\x01\x08\x02\x82\x01\x01\x00" + b"\xff" * 256 + b"\x02\x01\x02"
"""A sequence of the integers 2^2048 - 1 and 2, in DER."""


class ScramServer:
    """Sends the number of iterations in parts, and counts the passwords that it is sent."""

    def __init__(self, parts: Sequence[bytes], context: ssl.SSLContext | None) -> None:
        self.logins = 0
        self._parts = parts
        self._context = context

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._log_in(reader, writer)
        writer.close()

    async def _log_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start = await self.read(reader)
        if start[:4] == struct.pack("!i", SSL_REQUEST):
            assert self._context is not None
            writer.write(b"S")
            await writer.start_tls(self._context)
            await self.read(reader)
        writer.write(message(b"R", struct.pack("!i", SASL) + b"SCRAM-SHA-256\0\0"))
        await reader.readexactly(1)
        nonce = (await self.read(reader)).split(b"r=")[1]
        salt = base64.b64encode(b"0123456789abcdef")
        challenge = b"r=" + nonce + b"abc,s=" + salt + b",i=" + b"".join(self._parts)
        whole = message(b"R", struct.pack("!i", SASL_CONTINUE) + challenge)
        end = len(whole)
        for part in reversed(self._parts[1:]):
            end -= len(part)
        writer.write(whole[:end])
        for part in self._parts[1:]:
            await writer.drain()
            await asyncio.sleep(0)  # another packet, and another record of TLS
            writer.write(part)
        await reader.readexactly(1)
        await self.read(reader)
        self.logins += 1

    @staticmethod
    async def read(reader: asyncio.StreamReader) -> bytes:
        (length,) = struct.unpack("!i", await reader.readexactly(4))
        return await reader.readexactly(length - 4)


def tls(folder: Path, *, by_rsa: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(folder, "scram.test", by_rsa=by_rsa))
    return context


@contextlib.asynccontextmanager
async def login(
    targets: Targets,
    ssl_mode: str,
    parts: Sequence[bytes],
    context: ssl.SSLContext | None,
) -> AsyncIterator[tuple[Connector, ScramServer]]:
    hostile = ScramServer(parts, context)
    server = await asyncio.start_server(hostile.serve, "127.0.0.1", 0)
    destination = partial(Destination, host="127.0.0.1", database="a", username="ada", password="b")
    port = server.sockets[0].getsockname()[1]
    connector = Connector(destination(port=port, ssl_mode=ssl_mode), targets)
    async with server, patience():
        yield connector, hostile
    await connector.close()


@pytest.mark.parametrize("ssl_mode", ["DISABLE", "REQUIRE"])
@pytest.mark.parametrize(
    "parts",
    [
        [b"%d" % ENDLESS],
        [b"%d" % (MAX_SCRAM_ITERATIONS + 1)],
        [b" +" + b"0" * 500 + b"%d" % ENDLESS],
        [b"21", b"474", b"83647"],
    ],
    ids=["most", "one more", "padded", "in parts"],
)
async def test_login_with_too_many_iterations_is_refused(
    targets: Targets, tmp_path: Path, ssl_mode: str, parts: list[bytes]
) -> None:
    """Before libpq computes them, which would keep the event loop for many minutes."""
    context = None if ssl_mode == "DISABLE" else tls(tmp_path)
    async with login(targets, ssl_mode, parts, context) as (connector, hostile):
        with pytest.raises(BadInput, match="100,000 iterations"):
            await connector.connect()
    assert hostile.logins == 0


@pytest.mark.parametrize("ssl_mode", ["DISABLE", "REQUIRE"])
async def test_login_with_most_iterations_is_computed(
    targets: Targets, tmp_path: Path, ssl_mode: str
) -> None:
    parts = [b"%d" % MAX_SCRAM_ITERATIONS]
    context = None if ssl_mode == "DISABLE" else tls(tmp_path)
    async with login(targets, ssl_mode, parts, context) as (connector, hostile):
        with pytest.raises(Unreachable):
            await connector.connect()
    assert hostile.logins == 1


def finite_field(folder: Path) -> ssl.SSLContext:
    """Finite-field Diffie-Hellman takes seconds in a group of 10,000 bits; here it has 2,048."""
    group = folder / "group.pem"
    group.write_text(
        f"-----BEGIN DH PARAMETERS-----\n{base64.b64encode(GROUP).decode()}\n"
        "-----END DH PARAMETERS-----\n"
    )
    context = tls(folder, by_rsa=True)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DHE:@SECLEVEL=0")
    context.load_dh_params(str(group))
    return context


async def test_group_of_the_server_is_not_computed(targets: Targets, tmp_path: Path) -> None:
    context = finite_field(tmp_path)
    async with login(targets, "REQUIRE", [b"4096"], context) as (connector, hostile):
        with pytest.raises(BadInput) as caught:
            await connector.connect()
    assert caught.value.field == "sslMode"
    assert hostile.logins == 0


async def test_group_for_a_cancel_request_is_not_computed(targets: Targets, tmp_path: Path) -> None:
    """A server with the same certificate uses it once the connection is open."""
    contexts = [tls(tmp_path), finite_field(tmp_path)]
    cancels = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal cancels
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(8)
            writer.write(b"S")
            await writer.start_tls(contexts.pop(0))
            await ScramServer.read(reader)
            cancels += not contexts
            writer.write(WELCOME)
            while kind := await reader.readexactly(1):
                await ScramServer.read(reader)
                if kind == b"S":
                    writer.write(message(b"1") + message(b"2"))
                if kind in b"QS":
                    writer.write(message(b"C", b"SELECT 0\0") + READY)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    destination = Destination(
        host="127.0.0.1", port=port, database="a", username="ada", ssl_mode="REQUIRE"
    )
    connector = Connector(destination, targets)
    async with server, patience():
        connection = await connector.connect()
        with pytest.raises(psycopg.OperationalError, match="wrong cipher"):
            await connection.cancel_safe()
        connection.finish()
    await connector.close()
    assert cancels == 0
