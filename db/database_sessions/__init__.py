"""Database sessions: connections to users' databases that are held across requests."""

from db.database_sessions.repository import DatabaseSessions, closed_error
from db.database_sessions.rows import (
    CloseReason,
    DatabaseSessionRow,
    HeldState,
    IsolationLevel,
    NewSession,
    SessionBackend,
    SessionState,
    SessionStatus,
)
from db.database_sessions.unscoped.orphans import (
    close_lost,
    close_overdue,
    find_closed,
    held_states,
)
from db.database_sessions.unscoped.retention import delete_closed_sessions

__all__ = [
    "CloseReason",
    "DatabaseSessionRow",
    "DatabaseSessions",
    "HeldState",
    "IsolationLevel",
    "NewSession",
    "SessionBackend",
    "SessionState",
    "SessionStatus",
    "close_lost",
    "close_overdue",
    "closed_error",
    "delete_closed_sessions",
    "find_closed",
    "held_states",
]
