"""Query runs: states, history, result pages, retention and orphaned runs."""

from db.runs.repository import Runs
from db.runs.result_pages import ResultPages
from db.runs.rows import (
    ACTIVE,
    Backend,
    CancelOutcome,
    Column,
    EditableSource,
    Ending,
    Failure,
    InlineRows,
    NewRun,
    OrphanRow,
    PageRow,
    RunBackend,
    RunFilter,
    RunRow,
    RunState,
    RunUsage,
    ServerNotice,
    Truncated,
    TruncationReason,
)
from db.runs.run_queue import RunQueue
from db.runs.scripted_runs import ScriptedRuns
from db.runs.session_queue import SessionQueue
from db.runs.session_runs import SessionRuns
from db.runs.unscoped.lookups import (
    existing_run_ids,
    find_any_run,
    sessions_with_queued_runs,
)
from db.runs.unscoped.orphans import (
    cancel_states,
    end_overdue,
    find_ended_runs,
    interrupt_orphans,
    interrupt_queued,
)
from db.runs.unscoped.retention import (
    expire_over_quota,
    kept_result_bytes,
    list_expired,
    list_partial_results,
)

__all__ = [
    "ACTIVE",
    "Backend",
    "CancelOutcome",
    "Column",
    "EditableSource",
    "Ending",
    "Failure",
    "InlineRows",
    "NewRun",
    "OrphanRow",
    "PageRow",
    "ResultPages",
    "RunBackend",
    "RunFilter",
    "RunQueue",
    "RunRow",
    "RunState",
    "RunUsage",
    "Runs",
    "ScriptedRuns",
    "ServerNotice",
    "SessionQueue",
    "SessionRuns",
    "Truncated",
    "TruncationReason",
    "cancel_states",
    "end_overdue",
    "existing_run_ids",
    "expire_over_quota",
    "find_any_run",
    "find_ended_runs",
    "interrupt_orphans",
    "interrupt_queued",
    "kept_result_bytes",
    "list_expired",
    "list_partial_results",
    "sessions_with_queued_runs",
]
