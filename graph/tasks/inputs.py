"""Inputs and payloads of tasks. The values are validated in `db.tasks`."""

from datetime import datetime
from enum import StrEnum

import strawberry

from db.tasks import TaskRow
from graph.kit.fields import attribute, graphql_enum, optional, retry_key, version_guard
from graph.kit.paging import OrderDirection
from graph.tasks.types import ImportRejection, Task


@graphql_enum(
    "Field by which a list of tasks is sorted.",
    CREATED_AT="Sort by `createdAt`.",
    UPDATED_AT="Sort by `updatedAt`.",
    TITLE="Sort by `title`, ignoring case.",
)
class TaskOrderField(StrEnum):
    """The values are columns that have an index for sorting."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    TITLE = "sort_title"


@strawberry.input(description="Sort order of a list of tasks.")
class TaskOrder:
    field: TaskOrderField = attribute("Field to sort by.")
    direction: OrderDirection = optional(
        "Sort direction. Defaults to `ASC`.", default=OrderDirection.ASC
    )


@strawberry.input(
    description="Conditions for a list of tasks. A task must satisfy all of them. "
    "Omitted or null conditions are ignored."
)
class TaskFilter:
    completed: bool | None = optional(
        "If true, only completed tasks are returned. If false, only open tasks."
    )
    search: str | None = optional(
        "Text that must occur in `title` or `description`, ignoring case. 1 to 200 characters."
    )
    created_after: datetime | None = optional("Only tasks created after this time.")
    created_before: datetime | None = optional("Only tasks created before this time.")


@strawberry.input(description="Input of `createTask`.")
class CreateTaskInput:
    title: str = attribute(
        "Title, 1 to 200 characters. Surrounding whitespace is removed before the check."
    )
    description: str | None = optional("Details, up to 1000 characters.")
    idempotency_key: str | None = retry_key("the task that the first created")


@strawberry.input(description="Input of `updateTask`. Omitted fields keep their value.")
class UpdateTaskInput:
    id: strawberry.ID = attribute("ID of the task to update.")
    title: str | None = optional("New title, 1 to 200 characters. Cannot be null.")
    description: str | None = optional(
        "New details, up to 1000 characters. Null removes the description."
    )
    completed: bool | None = optional("True completes the task, false reopens it. Cannot be null.")
    expected_version: int | None = version_guard("task")


@strawberry.input(description="Input of `toggleTask`.")
class ToggleTaskInput:
    id: strawberry.ID = attribute("ID of the task to toggle.")
    expected_version: int | None = version_guard(
        "task", more="With it, a retry does not toggle twice."
    )


@strawberry.input(description="Input of `deleteTask`.")
class DeleteTaskInput:
    id: strawberry.ID = attribute("ID of the task to delete.")


@strawberry.input(
    description="Input of `importTasks`: the contents of the JSON file that the old console "
    "application wrote."
)
class ImportTasksInput:
    json: str = attribute(
        'Contents of the file: a JSON list of tasks, or an object of the form `{"tasks": [...]}`.'
    )
    dry_run: bool = optional(
        "If true, nothing is saved and the payload reports what an import would do. "
        "Defaults to false.",
        default=False,
    )


@strawberry.type(description="Payload of `createTask`.")
class CreateTaskPayload:
    task: TaskRow = attribute("The created task.", type=Task)


@strawberry.type(description="Payload of `updateTask`.")
class UpdateTaskPayload:
    task: TaskRow = attribute("The updated task.", type=Task)


@strawberry.type(description="Payload of `toggleTask`.")
class ToggleTaskPayload:
    task: TaskRow = attribute("The toggled task.", type=Task)


@strawberry.type(description="Payload of `deleteTask`.")
class DeleteTaskPayload:
    deleted_task_id: strawberry.ID = attribute("ID of the deleted task.")


@strawberry.type(description="Payload of `deleteCompletedTasks`.")
class DeleteCompletedTasksPayload:
    deleted_task_ids: list[strawberry.ID] = attribute(
        "IDs of the deleted tasks. Empty if no task was completed."
    )


@strawberry.type(description="Payload of `importTasks`.")
class ImportTasksPayload:
    created: int = attribute("Number of tasks created.")
    unchanged: int = attribute(
        "Number of records that were already imported. Their tasks were not changed."
    )
    rejected: list[ImportRejection] = attribute("Records that were rejected.")
