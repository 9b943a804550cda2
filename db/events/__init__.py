"""Events wake readers up, across processes. The truth stays in the database.

async with bus.subscribe(topic) as changes:
    ...                       # read the database once
    async for event in changes:
        ...                   # read it again; all of it when `event.missed`
"""

from functools import partial
from urllib.parse import urlsplit

from db.errors import BadInput
from db.events.backlog import Event
from db.events.bus import Dial, EventBus
from db.events.postgres import Connect, connecting, postgres_link
from db.events.subscription import Subscription

__all__ = ["Event", "EventBus", "Subscription", "open_events"]


async def open_events(
    url: str, *, connect: Connect | None = None, channel: str = "howdah"
) -> EventBus:
    """Opens the bus that `url` names; `connect` replaces the way to PostgreSQL.

    `channel` tells apart installations that share one Redis or NATS server.
    """
    kind, dial = carrier(url, connect or connecting(url), channel)
    bus = EventBus(kind, dial)
    try:
        await bus.open()
    except BaseException:
        await bus.close()
        raise
    return bus


def carrier(url: str, connect: Connect, channel: str) -> tuple[str, Dial]:
    """What carries the events, by the scheme of the URL. Drivers of extras load when chosen."""
    match scheme := urlsplit(url).scheme:
        case "postgresql" | "postgres":
            return "postgres", partial(postgres_link, connect, channel)
        case "redis" | "rediss":
            from db.events.redis import redis_link  # noqa: PLC0415 - an extra, half a second

            return "redis", partial(redis_link, url, channel)
        case "nats" | "tls":
            from db.events.nats import nats_link  # noqa: PLC0415 - an extra

            return "nats", partial(nats_link, url, channel)
    raise BadInput(
        f"Events cannot travel over {scheme!r}.",
        hint="HOWDAH_EVENTS_URL starts with redis://, rediss:// or nats://; "
        "without it events travel through the database.",
    )
