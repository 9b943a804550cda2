import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.fixtures.network import Link
from tests.fixtures.patience import patience
from tests.fixtures.targets import speaking


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1_024):
        writer.write(data)


@contextlib.asynccontextmanager
async def _connected(
    link: Link,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    yield reader, writer
    writer.close()


async def test_cut_link_delivers_nothing_until_it_is_mended() -> None:
    async with (
        speaking(_echo) as port,
        Link.opened("127.0.0.1", port) as link,
        Link.opened("127.0.0.1", port) as whole,
        _connected(link) as (reader, writer),
        _connected(whole) as (others, to_others),
        patience(),
    ):
        writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        link.cut()
        writer.write(b"late")
        answer = asyncio.create_task(reader.readexactly(4))
        async with _connected(link) as (newer, to_newer):
            to_newer.write(b"new")
            for _ in range(10):
                to_others.write(b"passes")
                assert await others.readexactly(6) == b"passes"
            assert not answer.done()
            link.mend()
            assert await answer == b"late"
            assert await newer.readexactly(3) == b"new"


async def test_reset_ends_connections() -> None:
    async with (
        speaking(_echo) as port,
        Link.opened("127.0.0.1", port) as link,
        _connected(link) as (reader, writer),
        patience(),
    ):
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        link.reset()
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
