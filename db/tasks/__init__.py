"""Tasks: a to-do list per owner, and the import of the old console application's file."""

from db.tasks.legacy_file import CHUNK_BYTES, decoded
from db.tasks.legacy_task import OldTask, Rejected, old_tasks
from db.tasks.repository import (
    TaskFilter,
    TaskRow,
    Tasks,
    TaskStatsRow,
)
from db.tasks.task_import import ImportReport, Imports, import_records

__all__ = [
    "CHUNK_BYTES",
    "ImportReport",
    "Imports",
    "OldTask",
    "Rejected",
    "TaskFilter",
    "TaskRow",
    "TaskStatsRow",
    "Tasks",
    "decoded",
    "import_records",
    "old_tasks",
]
