"""Events over NATS: takes them off the database. Needs the extra `nats`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import nats
from nats.aio.msg import Msg

from db.events.bus import Receive, Send

CONNECT_S = 10


@asynccontextmanager
async def nats_link(url: str, channel: str, receive: Receive) -> AsyncIterator[Send]:
    """One connection for both ways. It does not reconnect: the bus does that."""

    async def hear(message: Msg) -> None:
        receive(message.data.decode())

    async def send(frames: Sequence[str]) -> None:
        for frame in frames:
            await client.publish(channel, frame.encode())

    client = await nats.connect(url, connect_timeout=CONNECT_S, allow_reconnect=False)
    try:
        await client.subscribe(channel, cb=hear)
        yield send
    finally:
        await client.close()
