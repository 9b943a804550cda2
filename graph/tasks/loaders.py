"""Loads tasks of the viewer by ID, in batches."""

from db.tasks import TaskRow, Tasks
from graph.kit.loaders import ById


class TaskById(ById[TaskRow]):
    repository = Tasks
