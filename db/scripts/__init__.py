"""Scripts: states, progress, retention, and the recovery of scripts whose session has ended."""

from db.scripts.repository import ScriptRuns
from db.scripts.rows import (
    NewScript,
    OnError,
    QueuedScript,
    ScriptProgress,
    ScriptRunRow,
    ScriptState,
    ScriptTransaction,
)
from db.scripts.unscoped.orphans import interrupt_orphaned_scripts, sessions_with_queued_scripts
from db.scripts.unscoped.retention import delete_expired_scripts, expire_scripts_over_quota

__all__ = [
    "NewScript",
    "OnError",
    "QueuedScript",
    "ScriptProgress",
    "ScriptRunRow",
    "ScriptRuns",
    "ScriptState",
    "ScriptTransaction",
    "delete_expired_scripts",
    "expire_scripts_over_quota",
    "interrupt_orphaned_scripts",
    "sessions_with_queued_scripts",
]
