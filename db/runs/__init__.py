"""Query runs: their states, their history, and where the rows of their results are."""

from db.runs.liveness import Liveness
from db.runs.orphans import abandon, interrupt, miss, watched
from db.runs.repository import Runs
from db.runs.result_pages import Pages
from db.runs.retention import crowd_out, expired, partial
from db.runs.rows import (
    ACTIVE,
    CANCELLED,
    FAILED,
    INTERRUPTED,
    MAX_BYTES,
    MAX_CELL,
    MAX_ROWS,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    TERMINAL,
    TIMED_OUT,
    Column,
    Ending,
    Failure,
    NewRun,
    Notice,
    OrphanRow,
    PageRow,
    RunFilter,
    RunRow,
    Truncated,
)
from db.runs.tables import QueryRun, QueryRunPage
from db.runs.unscoped import known_run, known_runs

__all__ = [
    "ACTIVE",
    "CANCELLED",
    "FAILED",
    "INTERRUPTED",
    "MAX_BYTES",
    "MAX_CELL",
    "MAX_ROWS",
    "QUEUED",
    "RUNNING",
    "SUCCEEDED",
    "TERMINAL",
    "TIMED_OUT",
    "Column",
    "Ending",
    "Failure",
    "Liveness",
    "NewRun",
    "Notice",
    "OrphanRow",
    "PageRow",
    "Pages",
    "QueryRun",
    "QueryRunPage",
    "RunFilter",
    "RunRow",
    "Runs",
    "Truncated",
    "abandon",
    "crowd_out",
    "expired",
    "interrupt",
    "known_run",
    "known_runs",
    "miss",
    "partial",
    "watched",
]
