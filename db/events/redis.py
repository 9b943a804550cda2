"""Events over Redis, which relieves the database. Needs the extra `redis`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from db.events.bus import Receive, Send

CONNECT_S = 10.0


@asynccontextmanager
async def redis_link(url: str, channel: str, receive: Receive) -> AsyncIterator[Send]:
    """Uses one connection to receive and one to send. The bus reconnects, not the driver."""

    async def send(frames: Sequence[str]) -> None:
        async with client.pipeline(transaction=False) as pipeline:
            for frame in frames:
                pipeline.publish(channel, frame)
            await pipeline.execute()

    client = Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_S,
        retry=Retry(NoBackoff(), 0),
    )
    async with client, client.pubsub() as pubsub, asyncio.TaskGroup() as tasks:
        await pubsub.subscribe(channel)
        await pubsub.get_message(
            timeout=CONNECT_S
        )  # the confirmation that the subscription is active
        listening = tasks.create_task(listen(pubsub, receive))
        yield send
        listening.cancel()


async def listen(pubsub: PubSub, receive: Receive) -> None:
    async for message in pubsub.listen():
        if message["type"] == "message":
            receive(message["data"].decode(errors="replace"))  # others may write to the channel
