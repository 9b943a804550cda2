"""The limits of the workbench, as the settings have them."""

from db.settings import Settings
from db.workbench.connections.values import Limits
from db.workbench.execution.request.run_request import RunLimits
from db.workbench.sessions.open_request import SessionLimits


def target_limits(settings: Settings) -> Limits:
    return Limits(
        pool_size=settings.target_pool_size,
        connections=settings.target_connections,
        idle_s=settings.target_idle_seconds,
        row_bytes=settings.run_max_row_bytes,
        process_row_bytes=settings.run_max_row_bytes_total,
    )


def run_limits(settings: Settings) -> RunLimits:
    return RunLimits(
        max_running=settings.runs_at_once,
        max_active=settings.runs_waiting,
        timeout_ms=settings.run_timeout_ms,
        max_timeout_ms=settings.run_max_timeout_ms,
        max_rows=settings.run_max_rows,
        max_bytes=settings.run_max_bytes,
        max_cell=settings.run_max_row_bytes,
        retention_days=settings.run_days,
        max_kept_bytes=settings.run_bytes_per_user,
        max_kept_runs=settings.runs_per_user,
        max_kept_text=settings.run_text_bytes_per_user,
    )


def session_limits(settings: Settings) -> SessionLimits:
    return SessionLimits(
        max_open=settings.database_sessions_per_user,
        idle_ms=settings.database_session_idle_seconds * 1000,
        max_idle_ms=settings.database_session_max_idle_seconds * 1000,
        transaction_ms=settings.database_session_transaction_seconds * 1000,
        max_transaction_ms=settings.database_session_max_transaction_seconds * 1000,
    )
