"""Every metric of Howdah. docs/monitoring/index.md lists them, and a test compares the two.

Labels have few values: none is chosen by a client. A user or an operation name is never a label;
the operation log (graph.server.operation_log) has both.
"""

from typing import Literal, NamedTuple, TypeAlias

from db.distributions import LAG_S, SECONDS, SIZES, SLOWNESS_S, Distribution

Workers: TypeAlias = Literal["livesum", "livemin", "livemax"]


class Metric(NamedTuple):
    """`workers` is how a server with several processes combines the values of a gauge."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    workers: Workers = "livesum"


Sample: TypeAlias = tuple[Metric, tuple[str, ...], float | Distribution]
"""A metric, the values of its labels, and its value since the start of the process."""

METRICS: list[Metric] = []


def _declare(metric: Metric) -> Metric:
    METRICS.append(metric)
    return metric


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return _declare(Metric(f"howdah_{name}_total", "counter", meaning, labels))


def _gauge(name: str, meaning: str, *labels: str, workers: Workers = "livesum") -> Metric:
    return _declare(Metric(f"howdah_{name}", "gauge", meaning, labels, workers=workers))


def _histogram(
    name: str, meaning: str, *labels: str, bounds: tuple[float, ...] = SECONDS
) -> Metric:
    return _declare(Metric(f"howdah_{name}", "histogram", meaning, labels, bounds))


# Operations
OPERATION_SECONDS = _histogram(
    "operation_seconds",
    "Duration of queries and mutations. `outcome` is `OK` or the code of the first error.",
    "kind",
    "outcome",
)
FIELD_SECONDS = _histogram(
    "field_seconds",
    "Duration of queries and mutations by their root field, such as `Query.tasks`. One with "
    "several root fields counts as `Query.*` or `Mutation.*`.",
    "field",
    bounds=SLOWNESS_S,
)
OPERATION_STATEMENTS = _histogram(
    "operation_statements",
    "Statements that a query or mutation sent to Howdah's own database.",
    bounds=SIZES,
)
REFUSED = _counter(
    "requests_refused",
    "Requests and sockets refused before an operation ran: the document is invalid, unknown or too "
    "expensive, or the access token is not valid, lacks a scope or could not be checked. `code` is "
    "that of the error.",
    "code",
)
PLAN_HITS = _counter("plan_hits", "Operations whose plan was cached.")
PLAN_MISSES = _counter("plan_misses", "Operations whose plan had to be compiled.")
PLANS_KEPT = _gauge("plans_kept", "Compiled operations in the cache.")
LOADER_BATCH = _histogram(
    "loader_batch_keys", "Keys that a dataloader resolved with one batch.", bounds=SIZES
)

# Admission
ADMISSION_SECONDS = _histogram(
    "admission_wait_seconds",
    "Time that operations waited for a slot of their user, of those that had to wait.",
)
ADMISSION_USERS = _gauge("admission_users", "Users with an operation in progress.")
ADMISSION_WAITING = _gauge("admission_users_waiting", "Users whose operations wait for a slot.")
OVERLOADED = _counter(
    "overloaded", "Errors with the code `OVERLOADED`, by what had no capacity.", "cause"
)

# Howdah's own database
CONNECTIONS_IN_USE = _gauge("database_connections_in_use", "Database connections in use.")
CONNECTIONS_OPEN = _gauge("database_connections_open", "Open database connections.")
CONNECTIONS_MAX = _gauge(
    "database_connections_max", "Database connections that may be open: HOWDAH_DATABASE_POOL_SIZE."
)
DATABASE_UP = _gauge(
    "database_up",
    "1 if Howdah's own database accepts the heartbeats of every worker, else 0: it is away, or "
    "accepts no changes.",
    workers="livemin",
)
DATABASE_WAITING = _gauge(
    "database_waiting", "Statements that wait for a connection, or to be sent with equal ones."
)
DATABASE_WAIT = _histogram(
    "database_wait_seconds",
    "Time that statements and transactions waited for a connection, of those that had to wait.",
)
STATEMENT_SECONDS = _histogram(
    "database_statement_seconds",
    "Duration of statements on a connection. `kind` is `read`, `change`, or `transaction` for one "
    "inside a transaction.",
    "kind",
)
BATCH_CALLERS = _histogram(
    "database_batch_callers",
    "Callers whose equal statements were sent as one, after they had waited.",
    bounds=SIZES,
)
CONFLICTS = _counter(
    "database_conflicts", "Transactions repeated after a deadlock or a serialization failure."
)
LOST = _counter(
    "database_connections_lost", "Connections that were lost while a statement was under way."
)
SLOW_STATEMENTS = _counter(
    "database_slow_statements", "Statements that took HOWDAH_SLOW_STATEMENT_MS or longer."
)
ROUND_TRIP = _gauge(
    "database_round_trip_seconds", "Shortest recent duration of a statement.", workers="livemax"
)
STANDBY_UP = _gauge(
    "standby_up",
    "1 if queries can be read on this standby, else 0: it does not answer, or lacks what the "
    "primary had 5 seconds ago. `standby` is its number in HOWDAH_READ_DATABASE_URLS.",
    "standby",
    workers="livemin",
)
STANDBY_LAG_BYTES = _gauge(
    "standby_lag_bytes",
    "Write-ahead log of the primary that this standby has not replayed.",
    "standby",
    workers="livemax",
)
STANDBY_LAG_SECONDS = _gauge(
    "standby_lag_seconds",
    "Age of the oldest change that this standby has not replayed; 5 stands for 5 or more.",
    "standby",
    workers="livemax",
)
STANDBY_QUERIES = _counter(
    "standby_queries",
    "Queries of clients that keep a position. `server` is where they began to read: `standby`, or "
    "`primary` if no standby had what the client has seen.",
    "server",
)
STANDBY_PASSED_OVER = _counter(
    "standby_passed_over",
    "Standbys that were passed over for a query, by reason: `behind`, `busy`, `unreachable`, "
    "`not_standby`, `other_cluster` or `pooled`.",
    "reason",
)
STANDBY_FALLBACKS = _counter(
    "standby_fallbacks",
    "Reads that were repeated on the primary, by reason: `conflict` with replay, `lost` standby, "
    "`slow` (over 1.5 seconds), `busy` or `other`.",
    "reason",
)

# Users' databases
RUNS_RUNNING = _gauge("runs_running", "Query runs that this server executes.")
RUNS_QUEUES = _gauge("run_users_waiting", "Users whose query runs wait for a slot.")
RUNS_ENDED = _counter("runs_ended", "Query runs by their terminal state.", "state")
RUN_SECONDS = _histogram("run_seconds", "Duration of query runs without the time in the queue.")
RUN_QUEUE_SECONDS = _histogram(
    "run_queue_seconds", "Time from the submission of a query run to its start."
)
SESSIONS_OPEN = _gauge("database_sessions_open", "Open sessions on users' databases.")
TARGET_POOLS = _gauge("target_pools", "Pools of connections to users' databases.")
TARGET_CONNECTIONS = _gauge(
    "target_connections",
    "Connections to users' databases. `state` is `idle`, `busy` or `side`: those of sessions, live "
    "samples and cancel requests.",
    "state",
)
TARGET_CONNECTIONS_MAX = _gauge(
    "target_connections_max",
    "Connections to users' databases that may be open: HOWDAH_TARGET_CONNECTIONS.",
)
TARGET_CONNECTS = _counter(
    "target_connects",
    "Attempts to connect to a user's database. `outcome` is `OK` or the code of the error.",
    "outcome",
)
BREAKERS_OPEN = _gauge(
    "target_breakers_open", "Saved connections that fail at once, because the last attempts failed."
)
TUNNELS_OPEN = _gauge("tunnels_open", "Open SSH tunnels.")

# Events and streams
EVENTS_UP = _gauge(
    "events_up", "1 if the event bus works in every worker, else 0.", workers="livemin"
)
EVENT_READERS = _gauge("event_readers", "Subscriptions to the event bus.")
EVENTS_UNSENT = _gauge("events_unsent", "Events that wait to be sent.")
EVENTS_LAG = _histogram(
    "events_lag_seconds",
    "Time until events that this process sent came back to it over the bus.",
)
EVENTS_DOWN = _counter("events_outages", "Failures of the event bus.")
STREAMS_OPEN = _gauge("streams_open", "Open sockets and streams.")
SUBSCRIPTIONS_OPEN = _gauge(
    "subscriptions_open", "Open subscriptions by their field, such as `taskChanged`.", "field"
)
SUBSCRIPTIONS = _counter(
    "subscriptions",
    "Subscriptions that were requested. `outcome` is `OK`, or the code of the error that refused "
    "them.",
    "outcome",
)

# Objects
OBJECT_SECONDS = _histogram(
    "object_request_seconds", "Duration of requests to the object store.", "request"
)
OBJECT_ERRORS = _counter(
    "object_errors",
    "Failed requests to the object store, by the code of the error.",
    "request",
    "code",
)
OBJECT_BYTES = _counter(
    "object_bytes",
    "Bytes written to (`write`) and read from (`read`) the object store.",
    "direction",
)
KEPT_BYTES = _gauge(
    "kept_bytes",
    "Bytes that all users keep: `files`, and `results` of query runs. Counted once an hour by the "
    "process that has run longest: use the maximum of all servers.",
    "kind",
    workers="livemax",
)

# Background work
SWEEP_REMOVED = _counter("sweep_removed", "Expired rows and objects that were removed.", "sweep")
SWEEP_FAILURES = _counter("sweep_failures", "Sweeps that failed; each is repeated.", "sweep")
SWEEP_SUCCESS = _gauge(
    "sweep_success_timestamp_seconds",
    "When the sweep last succeeded, was left to another process, or the server started, as a Unix "
    "time.",
    "sweep",
    workers="livemin",
)
AUDIT_EVENTS = _counter("audit_events", "Events written to the audit log.", "kind")
AUDIT_STREAM_FAILURES = _counter(
    "audit_stream_failures", "Failed attempts to write the stream of HOWDAH_AUDIT_LOG."
)

# Process
LOOP_LAG = _histogram(
    "event_loop_lag_seconds",
    "Delay of a timer that expires twice a second: what the event loop makes everything wait.",
    bounds=LAG_S,
)
WORKERS = _gauge("workers", "Processes that serve requests.")
BUILD = _gauge("build_info", "1 for each process, with the version of Howdah.", "version")
