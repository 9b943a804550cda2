"""Tasks: a to-do list per owner, and the way in for the file of the old console application."""

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
    "Task",
    "TaskFilter",
    "TaskRow",
    "TaskStatsRow",
    "Tasks",
    "description_rule",
    "search_rule",
    "title_rule",
]
