"""Events over NATS, which relieves the database. Needs the extra `nats`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from nats.aio.client import Client
from nats.aio.msg import Msg

from db.events.bus import Receive, Send

CONNECT_S = 10


@asynccontextmanager
async def nats_link(url: str, channel: str, receive: Receive) -> AsyncIterator[Send]:
    """Uses one connection in both directions. The bus reconnects, not the driver."""

    async def on_message(message: Msg) -> None:
        receive(message.data.decode(errors="replace"))

    async def send(frames: Sequence[str]) -> None:
        for frame in frames:
            await client.publish(channel, frame.encode())

    async def ignore(_error: Exception) -> None:
        """The bus detects and reports the failure by the missing heartbeat."""

    client = Client()
    try:
        await client.connect(
            url,
            connect_timeout=CONNECT_S,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            error_cb=ignore,
        )
        # Without limits: beyond them the driver drops messages silently. Backlogs are bounded.
        await client.subscribe(channel, cb=on_message, pending_msgs_limit=0, pending_bytes_limit=0)
        yield send
    finally:
        await client.close()
