import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from db.postgres.engine import open_database
from db.settings import Settings
from graph.app import build_app
from tests.fixtures.connected import connected
from tests.fixtures.patience import patience
from tests.fixtures.toy import Door, calling, only, schema


class Relay:
    """A road to the database that can be silent: nothing is refused, nothing arrives."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._open = asyncio.Event()
        self._open.set()

    def silence(self) -> None:
        self._open.clear()

    def resume(self) -> None:
        self._open.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._target)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self._copy(reader, back), self._copy(there, writer))
        writer.close()
        back.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._open.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.fixture
async def relay(committed_url: str) -> AsyncIterator[tuple[Relay, str]]:
    parts = urlsplit(committed_url)
    relay = Relay(parts.hostname or "", parts.port or 0)
    server = await asyncio.start_server(relay.carry, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield relay, committed_url.replace(f":{parts.port}/", f":{port}/")
    relay.resume()
    server.close()


@pytest.mark.usefixtures("real_limits")
async def test_readyz_fails_while_database_is_silent(
    relay: tuple[Relay, str],
) -> None:
    road, url = relay
    database = await open_database(url)
    settings = Settings()
    app = build_app(
        settings, schema=schema, authenticate=Door(), open_services=only(settings, database)
    )
    async with calling(app) as client:
        assert (await client.get("/readyz")).text == "ready\n"
        road.silence()
        async with patience():
            answers = await asyncio.gather(*(client.get("/readyz") for _ in range(5)))
        assert {answer.status_code for answer in answers} == {503}
        assert (await client.get("/healthz")).status_code == 200
        road.resume()
        async with patience():
            while (await client.get("/readyz")).status_code != 200:
                pass  # each look waits for the database by itself
    await database.close()


async def test_readyz_fails_without_migrations(committed_url: str) -> None:
    async with connected(committed_url) as connection:
        await connection.execute("UPDATE alembic_version SET version_num = '0001'")
    database = await open_database(committed_url)
    settings = Settings()
    app = build_app(
        settings, schema=schema, authenticate=Door(), open_services=only(settings, database)
    )
    async with calling(app) as client:
        answer = await client.get("/readyz")
        head = await client.head("/readyz")
    await database.close()
    assert (answer.status_code, answer.text) == (503, "the database lacks migrations\n")
    assert head.status_code == 503
