"""GraphQL types of tasks, their statistics, changes and imports."""

from datetime import datetime

import strawberry

from db.tasks import TaskRow, Tasks
from graph.kit.fields import attribute, field
from graph.kit.ids import Node, id_of, node
from graph.kit.loaders import ById
from graph.kit.scopes import TASKS
from graph.tasks.changes import Change, TaskChangeKind


class TaskById(ById[TaskRow]):
    repository = Tasks


@strawberry.type(description="An item on the viewer's to-do list. Visible only to its owner.")
@node("task", row=TaskRow, loader=TaskById, scopes=TASKS.read)
class Task(Node):
    title: str = attribute("Title, 1 to 200 characters, without surrounding whitespace.")
    description: str | None = attribute("Details, up to 1000 characters. Null if there are none.")
    completed: bool = attribute("If true, the task is completed.")
    created_at: datetime = attribute("Time the task was created.")
    updated_at: datetime = attribute("Time of the last change to the task.")
    completed_at: datetime | None = attribute(
        "Time the task was completed. Null while the task is open."
    )
    version: int = attribute(
        "Increases with every change. Pass it as `expectedVersion` to detect concurrent updates."
    )


@strawberry.type(description="Number of tasks the viewer owns, in total and by state.")
class TaskStats:
    total: int = attribute("Number of all tasks.")
    completed: int = attribute("Number of completed tasks.")
    open: int = attribute("Number of tasks that are not completed.")


@strawberry.type(description="A change to one of the viewer's tasks, sent by `taskChanged`.")
class TaskChange:
    kind: TaskChangeKind = attribute("Kind of change.")
    task: Task | None = attribute(
        "Current state of the task, which may be newer than this change. "
        "Null if the task was deleted, and if `kind` is `IMPORTED`."
    )

    @field("ID of the task. Set for deleted tasks as well. Null if `kind` is `IMPORTED`.")
    def task_id(root: strawberry.Parent[Change]) -> strawberry.ID | None:
        return None if root.task_id is None else id_of("task", root.task_id)

    @field("Number of tasks changed: those an import created if `kind` is `IMPORTED`, otherwise 1.")
    def count(root: strawberry.Parent[Change]) -> int:
        return root.task_count


@strawberry.type(description="A record of an imported file that was not accepted.")
class ImportRejection:
    index: int = attribute("Zero-based position of the record in the list.")
    reason: str = attribute("Explanation of why the record was rejected.")
