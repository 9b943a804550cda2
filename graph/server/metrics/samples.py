"""Reads what the parts of the process have counted. None of them knows metrics."""

from collections.abc import Iterator
from typing import NamedTuple

from db.distributions import SLOWNESS_S, Distributions
from db.errors import Overloaded
from db.events import EventBus
from db.kit.audit import recorded
from db.objects.store import ObjectFigures
from db.postgres.engine import Database
from db.postgres.standbys import Standbys
from db.services import Services
from db.version import __version__
from graph.kit.loaders import batch_keys
from graph.operations import Operations, Plans
from graph.server import audit_stream
from graph.server.metrics import catalogue as m
from graph.server.metrics.catalogue import Sample
from graph.server.metrics.loop_lag import LoopLag
from graph.server.observer import OperationObserver
from graph.transport.gateway import Shutdown


class Process(NamedTuple):
    """The parts of a process that count."""

    services: Services
    plans: Plans
    operations: Operations
    observer: OperationObserver
    shutdown: Shutdown
    loop_lag: LoopLag


def samples_of(process: Process) -> Iterator[Sample]:
    services = process.services
    yield from _of_operations(process)
    yield from _of_database(services.database)
    if services.standbys is not None:
        yield from _of_standbys(services.standbys)
    yield m.DATABASE_UP, (), not services.runner.heartbeat.is_failing
    yield from _of_targets(services)
    yield from _of_events(services.events)
    yield from _of_objects(services.objects.figures)
    yield from _of_background_work(services)
    yield m.STREAMS_OPEN, (), process.shutdown.streams
    yield m.LOOP_LAG, (), process.loop_lag.seconds
    yield m.WORKERS, (), 1
    yield m.BUILD, (__version__,), 1


def _of_operations(process: Process) -> Iterator[Sample]:
    observer, plans, admission = process.observer, process.plans, process.operations.admission
    of_outcome: Distributions[tuple[str, str]] = Distributions()
    of_field: Distributions[str] = Distributions(SLOWNESS_S)
    for (field, code), seconds in observer.durations.items():
        of_outcome[field.partition(".")[0].lower(), code].merge(seconds)
        of_field[field].merge(seconds)
    for labels, seconds in of_outcome.items():
        yield m.OPERATION_SECONDS, labels, seconds
    for field, seconds in of_field.items():
        yield m.FIELD_SECONDS, (field,), seconds
    yield m.OPERATION_STATEMENTS, (), observer.statements
    for code, count in observer.refusals.items():
        yield m.REFUSED, (code,), count
    for code, count in observer.subscriptions.items():
        yield m.SUBSCRIPTIONS, (code,), count
    for field, count in observer.open_subscriptions.items():
        yield m.SUBSCRIPTIONS_OPEN, (field,), count
    yield m.PLANS_KEPT, (), plans.count
    yield m.PLAN_HITS, (), plans.hits
    yield m.PLAN_MISSES, (), plans.misses
    yield m.LOADER_BATCH, (), batch_keys
    yield m.ADMISSION_SECONDS, (), admission.waits
    yield m.ADMISSION_USERS, (), admission.users
    yield m.ADMISSION_WAITING, (), admission.users_waiting
    for cause, count in Overloaded.causes.items():
        yield m.OVERLOADED, (cause,), count


def _of_database(database: Database) -> Iterator[Sample]:
    figures = database.figures
    yield m.CONNECTIONS_IN_USE, (), database.in_use
    yield m.CONNECTIONS_OPEN, (), database.opened
    yield m.CONNECTIONS_MAX, (), database.size
    yield m.DATABASE_WAITING, (), database.waiting
    yield m.DATABASE_WAIT, (), database.waits
    yield m.STATEMENT_SECONDS, ("read",), figures.reads
    yield m.STATEMENT_SECONDS, ("change",), figures.changes
    yield m.STATEMENT_SECONDS, ("transaction",), figures.in_transactions
    yield m.BATCH_CALLERS, (), figures.batches
    yield m.CONFLICTS, (), figures.conflicts
    yield m.LOST, (), figures.lost
    yield m.SLOW_STATEMENTS, (), figures.slow
    yield m.ROUND_TRIP, (), database.round_trip_s


def _of_standbys(standbys: Standbys) -> Iterator[Sample]:
    for standby in standbys.standbys:
        label = (str(standby.number),)
        yield m.STANDBY_UP, label, standbys.is_usable(standby)
        if (lag := standbys.lag_of(standby)) is not None:
            yield m.STANDBY_LAG_BYTES, label, lag[0]
            yield m.STANDBY_LAG_SECONDS, label, lag[1]
    for server, count in standbys.figures.operations.items():
        yield m.STANDBY_QUERIES, (server,), count
    for passed_over, count in standbys.figures.passed_over.items():
        yield m.STANDBY_PASSED_OVER, (passed_over.value,), count
    for fallback, count in standbys.figures.fallbacks.items():
        yield m.STANDBY_FALLBACKS, (fallback.value,), count


def _of_targets(services: Services) -> Iterator[Sample]:
    runner, runs, targets = services.runner, services.runner.figures, services.workbench.figures
    yield m.RUNS_RUNNING, (), runner.running
    yield m.RUNS_QUEUES, (), runner.users_waiting
    for state, count in runs.ended.items():
        yield m.RUNS_ENDED, (state,), count
    yield m.RUN_SECONDS, (), runs.durations
    yield m.RUN_QUEUE_SECONDS, (), runs.queue_times
    yield m.SESSIONS_OPEN, (), services.database_sessions.open_count
    yield m.TARGET_POOLS, (), targets.pools
    yield m.TARGET_CONNECTIONS, ("idle",), targets.idle
    yield m.TARGET_CONNECTIONS, ("busy",), targets.busy
    yield m.TARGET_CONNECTIONS, ("side",), targets.side
    yield m.TARGET_CONNECTIONS_MAX, (), targets.limit
    for outcome, count in targets.outcomes.items():
        yield m.TARGET_CONNECTS, (outcome,), count
    yield m.BREAKERS_OPEN, (), targets.breakers_open
    yield m.TUNNELS_OPEN, (), targets.tunnels


def _of_events(events: EventBus) -> Iterator[Sample]:
    yield m.EVENTS_UP, (), events.is_up
    yield m.EVENT_READERS, (), events.readers
    yield m.EVENTS_UNSENT, (), events.unsent
    yield m.EVENTS_LAG, (), events.lags
    yield m.EVENTS_DOWN, (), events.outages


def _of_objects(figures: ObjectFigures) -> Iterator[Sample]:
    for request, seconds in figures.seconds.items():
        yield m.OBJECT_SECONDS, (request,), seconds
    for (request, code), count in figures.errors.items():
        yield m.OBJECT_ERRORS, (request, code), count
    yield m.OBJECT_BYTES, ("write",), figures.written
    yield m.OBJECT_BYTES, ("read",), figures.read


def _of_background_work(services: Services) -> Iterator[Sample]:
    sweeps = services.sweeps
    for sweep, count in sweeps.removed.items():
        yield m.SWEEP_REMOVED, (sweep,), count
    for sweep, count in sweeps.failures.items():
        yield m.SWEEP_FAILURES, (sweep,), count
    for sweep, at in sweeps.succeeded_at.items():
        yield m.SWEEP_SUCCESS, (sweep,), at
    for of, size in services.kept.by_kind.items():
        yield m.KEPT_BYTES, (of,), size
    for kind, count in recorded.items():
        yield m.AUDIT_EVENTS, (kind.value,), count
    yield m.AUDIT_STREAM_FAILURES, (), sum(audit_stream.failures.values())
