"""Events over LISTEN and NOTIFY, without an additional server."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import asyncpg

from db.events.bus import Receive, Send

Connect = Callable[[], Awaitable[asyncpg.Connection]]

NOTIFY = "SELECT pg_notify($1, frame) FROM unnest($2::text[]) AS frame"


@asynccontextmanager
async def postgres_link(connect: Connect, channel: str, receive: Receive) -> AsyncIterator[Send]:
    """Uses one dedicated connection for all topics. It must not go through a pooler."""

    def on_message(_connection: object, _pid: int, _channel: str, frame: object) -> None:
        receive(str(frame))

    async def send(frames: Sequence[str]) -> None:
        await connection.execute(NOTIFY, channel, frames)

    connection = await connect()
    try:
        await connection.add_listener(channel, on_message)
        yield send
    finally:
        connection.terminate()
