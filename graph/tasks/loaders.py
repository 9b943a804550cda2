"""Loaders of tasks."""

from db.tasks import TaskRow, Tasks
from graph.kit.loaders import ById


class TaskById(ById[TaskRow]):
    repository = Tasks
