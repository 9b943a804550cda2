"""The server of a user chooses how long the login with a password takes to compute."""

import asyncio
import base64
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from db.errors import BadInput
from db.workbench.connections.connection_errors import MAX_SCRAM_ITERATIONS, Unreachable
from db.workbench.connections.connector import Connector
from db.workbench.connections.targets.destinations import Destination
from db.workbench.connections.targets.network_policy import Targets
from tests.fixtures.certificates import self_signed
from tests.fixtures.huge_rows import SSL_REQUEST, message
from tests.fixtures.patience import patience

SASL, SASL_CONTINUE = 10, 11
ENDLESS = 2**31 - 1


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
        start = await self._read(reader)
        if start[:4] == struct.pack("!i", SSL_REQUEST):
            assert self._context is not None
            writer.write(b"S")
            await writer.start_tls(self._context)
            await self._read(reader)
        writer.write(message(b"R", struct.pack("!i", SASL) + b"SCRAM-SHA-256\0\0"))
        await reader.readexactly(1)
        nonce = (await self._read(reader)).split(b"r=")[1]
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
        await self._read(reader)
        self.logins += 1

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> bytes:
        (length,) = struct.unpack("!i", await reader.readexactly(4))
        return await reader.readexactly(length - 4)


@contextlib.asynccontextmanager
async def login(
    targets: Targets, folder: Path, ssl_mode: str, parts: Sequence[bytes]
) -> AsyncIterator[tuple[Connector, ScramServer]]:
    context = None
    if ssl_mode != "DISABLE":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self_signed(folder, "scram.test"))
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
    async with login(targets, tmp_path, ssl_mode, parts) as (connector, hostile):
        with pytest.raises(BadInput, match="100,000 iterations"):
            await connector.connect()
    assert hostile.logins == 0


@pytest.mark.parametrize("ssl_mode", ["DISABLE", "REQUIRE"])
async def test_login_with_most_iterations_is_computed(
    targets: Targets, tmp_path: Path, ssl_mode: str
) -> None:
    parts = [b"%d" % MAX_SCRAM_ITERATIONS]
    async with login(targets, tmp_path, ssl_mode, parts) as (connector, hostile):
        with pytest.raises(Unreachable):
            await connector.connect()
    assert hostile.logins == 1
