"""Tasks: a to-do list per owner, and the import of the old console application's file."""

from db.tasks.legacy_file import decode_file
from db.tasks.legacy_task import LegacyTask, RejectedRecord, parse_legacy_tasks
from db.tasks.repository import (
    TaskFilter,
    TaskRow,
    Tasks,
    TaskStatsRow,
)
from db.tasks.task_import import ImportReport, Imports, import_records

__all__ = [
    "ImportReport",
    "Imports",
    "LegacyTask",
    "RejectedRecord",
    "TaskFilter",
    "TaskRow",
    "TaskStatsRow",
    "Tasks",
    "decode_file",
    "import_records",
    "parse_legacy_tasks",
]
