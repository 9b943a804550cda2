"""SQL that samples backends of a user's database, and its results.

Each backend is one row with one JSON value: views and columns differ between versions.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec

from db.runs import Backend
from db.workbench.live.progress import VIEWS, progress_of
from db.workbench.live.values import MAX_STATEMENT_CHARS, OtherSession, Progress

MAX_BLOCKERS = 20
STATEMENT_TIMEOUT_MS = 1_500

SETUP = f"SET statement_timeout = {STATEMENT_TIMEOUT_MS}; SET search_path = pg_catalog"
_VIEWS = ", ".join(f"'pg_stat_progress_{view}'" for view in VIEWS)
FEATURES = f"""
SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace
AND relname IN ({_VIEWS})
UNION ALL
SELECT attname FROM pg_attribute WHERE attrelid = 'pg_locks'::regclass AND attname = 'waitstart'
"""  # noqa: S608 - constants of ours
FEATURE_COUNT = len(VIEWS) + 1

_SAMPLE = """
SELECT json_build_object(
    'pid', a.pid, 'started_at', a.backend_start::text, 'now', clock_timestamp(),
    'event_type', CASE WHEN a.state = 'active' THEN a.wait_event_type END,
    'event', a.wait_event, 'since', {since}, 'progress', {progress},
    'blockers', CASE WHEN a.wait_event_type = 'Lock' OR a.wait_event = 'SafeSnapshot' THEN (
        SELECT json_agg(json_build_object(
            'pid', s.pid, 'username', s.usename, 'application_name', s.application_name,
            'state', s.state, 'statement', left(s.query, {chars}), 'since', s.state_change))
        FROM (SELECT DISTINCT unnest(CASE a.wait_event WHEN 'SafeSnapshot'
                  THEN pg_safe_snapshot_blocking_pids(a.pid) ELSE pg_blocking_pids(a.pid) END)
              ORDER BY 1 LIMIT {blockers}) AS blocking (pid)
        LEFT JOIN pg_stat_activity AS s ON s.pid = blocking.pid) END
)::text
FROM pg_stat_activity AS a WHERE a.pid = ANY ('{{{pids}}}'::int[])
"""
_WAIT_START = """CASE WHEN a.wait_event_type = 'Lock' THEN (
        SELECT min(l.waitstart) FROM pg_locks AS l WHERE l.pid = a.pid AND NOT l.granted) END"""
_PROGRESS = """(SELECT json_build_object('view', '{view}', 'row', to_json(p))
        FROM pg_stat_progress_{view} AS p WHERE p.pid = a.pid)"""


class _Progress(msgspec.Struct):
    view: str
    row: dict[str, Any]


class Sampled(msgspec.Struct):
    """A row of the sample. `since` is None before PostgreSQL 14 and for other events than locks."""

    pid: int
    started_at: str
    now: datetime
    event_type: str | None
    event: str | None
    since: datetime | None
    progress: _Progress | None
    blockers: list[OtherSession] | None

    @property
    def backend(self) -> Backend:
        return Backend(self.pid, self.started_at)

    def parsed_progress(self) -> Progress | None:
        found = self.progress
        return None if found is None else progress_of(found.view, found.row)

    def parsed_blockers(self) -> tuple[OtherSession, ...]:
        return tuple(blocker.shown() for blocker in self.blockers or ())


def sample_sql(features: Collection[str], pids: Collection[int]) -> str:
    """`features` are the rows of FEATURES."""
    views = [view for view in VIEWS if f"pg_stat_progress_{view}" in features]
    progress = [_PROGRESS.format(view=view) for view in views]
    return _SAMPLE.format(
        since=_WAIT_START if "waitstart" in features else "NULL",
        progress=f"COALESCE({', '.join(progress)})" if progress else "NULL",
        chars=MAX_STATEMENT_CHARS,
        blockers=MAX_BLOCKERS,
        pids=",".join(map(str, pids)),
    )


def parse_sampled(text: str) -> Sampled:
    """Raises `msgspec.MsgspecError` if the server is not a real PostgreSQL."""
    try:
        return msgspec.json.decode(text, type=Sampled)
    except RecursionError as error:
        raise msgspec.DecodeError("the sample is nested too deep") from error
