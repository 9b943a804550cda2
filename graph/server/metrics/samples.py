"""Reads what the parts of the process have counted, without asking any of them to know metrics."""

from collections.abc import Iterator

from db.services import Services
from db.version import __version__
from graph.operations import Plans
from graph.server.metrics import catalogue as m
from graph.server.metrics.instruments import Sample
from graph.transport.gateway import Shutdown


def samples_of(services: Services, plans: Plans, shutdown: Shutdown) -> Iterator[Sample]:
    database, events = services.database, services.events
    yield m.CONNECTIONS_IN_USE, (), database.in_use
    yield m.DATABASE_WAITING, (), database.waiting
    yield m.EVENTS_UP, (), events.is_up
    yield m.EVENT_READERS, (), events.readers
    yield m.STREAMS_OPEN, (), shutdown.streams
    yield m.SESSIONS_OPEN, (), services.database_sessions.open_count
    yield m.PLANS_KEPT, (), plans.count
    yield m.WORKERS, (), 1
    yield m.PLAN_HITS, (), plans.hits
    yield m.PLAN_MISSES, (), plans.misses
    yield m.BUILD, (__version__,), 1
