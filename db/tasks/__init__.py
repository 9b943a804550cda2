"""Tasks: a to-do list per owner, and the way in for the file of the old console application."""

from db.tasks.importing import ImportReport, Imports, bring_in
from db.tasks.old_file import CHUNK_BYTES, decoded
from db.tasks.old_task import OldTask, Rejected, old_tasks
from db.tasks.repository import (
    Task,
    TaskFilter,
    TaskRow,
    Tasks,
    TaskStatsRow,
    description_rule,
    search_rule,
    title_rule,
)

__all__ = [
    "CHUNK_BYTES",
    "ImportReport",
    "Imports",
    "OldTask",
    "Rejected",
    "Task",
    "TaskFilter",
    "TaskRow",
    "TaskStatsRow",
    "Tasks",
    "bring_in",
    "decoded",
    "description_rule",
    "old_tasks",
    "search_rule",
    "title_rule",
]
