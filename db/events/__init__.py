"""Events wake readers across processes; the data stays in the database.

async with bus.subscribe(topic) as changes:
    ...                       # read the database once
    async for event in changes:
        ...                   # read it again; all of it when `event.missed`
"""

from functools import partial
from urllib.parse import urlsplit

from db.errors import BadInput
from db.events.backlog import Event
from db.events.bus import EventBus, OpenLink
from db.events.postgres import postgres_link
from db.events.subscription import Subscription
from db.events.watch import Watch, WatchClosed, wait_any_changed
from db.postgres.route.connect import connect
from db.postgres.route.urls import parse_url

__all__ = [
    "Event",
    "EventBus",
    "Subscription",
    "Watch",
    "WatchClosed",
    "open_events",
    "wait_any_changed",
]


async def open_events(url: str, *, channel: str = "howdah") -> EventBus:
    """Opens the bus that `url` names: the database's direct URL, or that of Redis or NATS.

    `channel` separates installations that share one Redis or NATS server.
    """
    bus = EventBus(*carrier(url, channel))
    try:
        await bus.open()
    except BaseException:
        await bus.close()
        raise
    return bus


def carrier(url: str, channel: str) -> tuple[str, OpenLink]:
    """Returns the transport for the scheme of the URL; imports its driver only when selected.

    Raises:
        BadInput: the scheme is unknown, or its extra is not installed.
    """
    scheme = urlsplit(url).scheme.partition("+")[0]
    try:
        match scheme:
            case "postgresql" | "postgres":
                open_connection = partial(connect, parse_url(url), application_name="howdah events")
                return "postgres", partial(postgres_link, open_connection, channel)
            case "redis" | "rediss":
                from db.events.redis import redis_link

                return "redis", partial(redis_link, url, channel)
            case "nats":
                from db.events.nats import nats_link

                return "nats", partial(nats_link, url, channel)
    except ModuleNotFoundError as missing:
        raise BadInput(
            f"HOWDAH_EVENTS_URL requires the package {missing.name!r}, which is not installed.",
            hint="Install it: pip install 'howdah[redis]' or 'howdah[nats]'.",
        ) from missing
    raise BadInput(
        f"HOWDAH_EVENTS_URL has the unsupported scheme {scheme!r}.",
        hint="Use redis://, rediss:// or nats://, or unset it to send events through the database.",
    )
