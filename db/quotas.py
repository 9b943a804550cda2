"""The quotas of one user over all domains, and how much of them is used."""

from typing import Any, NamedTuple

from db.connections import Connections
from db.database_sessions import DatabaseSessions
from db.kit.base import OwnerId
from db.kit.row_quota import RowQuota
from db.postgres.sessions import ReadSession
from db.runs import Runs
from db.saved_queries import SavedQueries, SavedQueryFilter, SavedVersions
from db.settings import Settings
from db.storage import Buckets, Quota
from db.tasks import TaskFilter, Tasks

MAX_TEXT_GRANT = 1024 * 1024


class UsageAmount(NamedTuple):
    """How much is used, and the most that may be; no limit is None."""

    used: int
    limit: int | None


class UsageRow(NamedTuple):
    """What one user stores, by kind."""

    connections: UsageAmount
    buckets: UsageAmount
    files: UsageAmount
    file_bytes: UsageAmount
    tasks: UsageAmount
    open_sessions: UsageAmount
    query_runs: UsageAmount
    query_run_text_bytes: UsageAmount
    query_run_result_bytes: UsageAmount
    saved_queries: UsageAmount
    saved_query_bytes: UsageAmount


class Quotas:
    """The quotas that are checked where a row is inserted."""

    def __init__(self, settings: Settings) -> None:
        self.connections = RowQuota(
            "connections",
            setting="HOWDAH_CONNECTIONS_PER_USER",
            limit=settings.connections_per_user,
            count=_count_connections,
        )
        self.buckets = RowQuota(
            "buckets",
            setting="HOWDAH_BUCKETS_PER_USER",
            limit=settings.buckets_per_user,
            count=_count_buckets,
        )
        self.tasks = RowQuota(
            "tasks",
            setting="HOWDAH_TASKS_PER_USER",
            limit=settings.tasks_per_user,
            count=_count_tasks,
        )
        self.saved_queries = RowQuota(
            "saved queries",
            setting="HOWDAH_SAVED_QUERIES_PER_USER",
            limit=settings.saved_queries_per_user,
            count=_count_saved_queries,
        )
        self.saved_query_bytes = RowQuota(
            "bytes of saved queries and their earlier versions",
            setting="HOWDAH_SAVED_QUERY_BYTES_PER_USER",
            limit=settings.saved_query_bytes_per_user,
            count=_count_saved_bytes,
            max_grant=MAX_TEXT_GRANT,
            hint="Delete saved queries that you do not need",
        )


class Usage:
    """Reads the usage of one owner."""

    def __init__(self, session: ReadSession, owner: OwnerId, settings: Settings) -> None:
        self._session = session
        self._owner = owner
        self._settings = settings

    async def read(self) -> UsageRow:
        session, owner, limits = self._session, self._owner, self._settings
        stored = await Buckets(session, owner).stored()
        runs = await Runs(session, owner).usage()
        return UsageRow(
            connections=UsageAmount(
                await _count_connections(session, owner), limits.connections_per_user
            ),
            buckets=UsageAmount(await _count_buckets(session, owner), limits.buckets_per_user),
            files=UsageAmount(stored.files or 0, limits.quota_files),
            file_bytes=UsageAmount(stored.bytes or 0, limits.quota_bytes),
            tasks=UsageAmount(await _count_tasks(session, owner), limits.tasks_per_user),
            open_sessions=UsageAmount(
                await DatabaseSessions(session, owner).count_open(),
                limits.database_sessions_per_user,
            ),
            query_runs=UsageAmount(runs.runs, limits.runs_per_user),
            query_run_text_bytes=UsageAmount(runs.text_bytes, limits.run_text_bytes_per_user),
            query_run_result_bytes=UsageAmount(runs.result_bytes, limits.run_bytes_per_user),
            saved_queries=UsageAmount(
                await _count_saved_queries(session, owner), limits.saved_queries_per_user
            ),
            saved_query_bytes=UsageAmount(
                await _count_saved_bytes(session, owner), limits.saved_query_bytes_per_user
            ),
        )


async def _count_connections(session: Any, owner: OwnerId) -> int:
    return await Connections(session, owner).count()


async def _count_buckets(session: Any, owner: OwnerId) -> int:
    return await Buckets(session, owner).count()


async def _count_tasks(session: Any, owner: OwnerId) -> int:
    return await Tasks(session, owner).count(TaskFilter())


async def _count_saved_queries(session: Any, owner: OwnerId) -> int:
    return await SavedQueries(session, owner).count(SavedQueryFilter())


async def _count_saved_bytes(session: Any, owner: OwnerId) -> int:
    current = await SavedQueries(session, owner).text_bytes()
    return current + await SavedVersions(session, owner).text_bytes()


def file_quota(settings: Settings) -> Quota:
    return Quota(bytes=settings.quota_bytes, files=settings.quota_files)
