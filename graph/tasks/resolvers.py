"""Tasks: a to-do list that only its owner sees."""

from collections.abc import AsyncIterator
from datetime import datetime
from enum import Enum
from typing import Annotated

import strawberry

from db.kit.paging import Order
from db.tasks import (
    ImportReport,
    Imports,
    TaskFilter,
    TaskRow,
    Tasks,
    TaskStatsRow,
    bring_in,
    old_tasks,
)
from graph.auth import SignedIn
from graph.context import Info
from graph.kit.fields import (
    argument,
    choice,
    field,
    given,
    mutation,
    optional,
    plain,
    query,
    subscription,
)
from graph.kit.ids import Node, id_of, node, parse_id
from graph.kit.loaders import ById
from graph.kit.paging import After, Before, Connection, First, Last, Listing, OrderDirection, window
from graph.tasks.changes import Change, ChangeKind, announce, follow


class TaskById(ById[TaskRow]):
    """The viewer's tasks by id."""

    repository = Tasks


@strawberry.type(description="Something to do.")
@node("task", row=TaskRow, loader=TaskById)
class Task(Node):
    """Read from a TaskRow."""

    title: str = plain("What is to be done: 1 to 200 characters, trimmed.")
    description: str | None = plain("More about it, up to 1000 characters.")
    completed: bool = plain("Whether it is done.")
    created_at: datetime = plain("When it was made.")
    updated_at: datetime = plain("When it last changed.")
    completed_at: datetime | None = plain("When it was done; null while it is open.")
    version: int = plain("Grows with every change; see `expectedVersion`.")


@strawberry.type(description="How many tasks there are.")
class TaskStats:
    """Read from a TaskStatsRow."""

    total: int = plain("All of them.")
    completed: int = plain("Those that are done.")
    open: int = plain("Those that are not.")


@strawberry.type(description="A task of mine has changed.")
class TaskChange:
    """Read from a Change."""

    kind: ChangeKind = plain("What has happened to it.")
    task: Task | None = plain("The task as it is now; null when it is gone.")

    @field("The task's id, also when it is gone.")
    def id(root: strawberry.Parent[Change]) -> strawberry.ID:
        return id_of("task", root.id)


@strawberry.enum(description="What a list of tasks can be sorted by.")
class TaskOrderField(Enum):
    """The columns that have an index for it."""

    CREATED_AT = choice("created_at", "When they were made.")
    UPDATED_AT = choice("updated_at", "When they last changed.")
    TITLE = choice("sort_title", "Their titles, whatever the case.")


@strawberry.input(description="How a list of tasks is sorted.")
class TaskOrder:
    """A column and a direction."""

    field: TaskOrderField = plain("By what.")
    direction: OrderDirection = optional("Which end first.", default=OrderDirection.ASC)


@strawberry.input(description="Which tasks a list holds; conditions add up.")
class TaskFilterInput:
    """Absent is no condition."""

    completed: bool | None = optional("Only those that are done, or only those that are not.")
    search: str | None = optional("Only those with this in title or description, in any case.")
    created_after: datetime | None = optional("Only those made after this moment.")
    created_before: datetime | None = optional("Only those made before this moment.")


@strawberry.input(description="A task to make.")
class CreateTaskInput:
    """Checked in db.tasks."""

    title: str = plain("What is to be done: 1 to 200 characters.")
    description: str | None = optional("More about it, up to 1000 characters.")
    idempotency_key: str | None = optional("Makes a retry safe: one key, one task, for 24 hours.")


@strawberry.input(description="Changes to a task; what is absent stays.")
class UpdateTaskInput:
    """Checked in db.tasks."""

    id: strawberry.ID = plain("Which task.")
    title: str | None = optional("Its new title.")
    description: str | None = optional("Its new description; null clears it.")
    completed: bool | None = optional("Whether it is done.")
    expected_version: int | None = optional("Change it only if this is still its `version`.")


@strawberry.input(description="A task to turn over.")
class ToggleTaskInput:
    """Names it."""

    id: strawberry.ID = plain("Which task.")


@strawberry.input(description="A task to delete.")
class DeleteTaskInput:
    """Names it."""

    id: strawberry.ID = plain("Which task.")


@strawberry.input(description="The tasks of the old console application.")
class ImportTasksInput:
    """Read in db.tasks.legacy_file."""

    json: str = plain('What its file holds: a list of tasks, or an object like {"tasks": [...]}.')
    dry_run: bool | None = optional("Change nothing, and report what would have become of them.")


@strawberry.type(description="The task that was made.")
class CreateTaskPayload:
    """Holds it."""

    task: TaskRow = plain("The new task.", type=Task)


@strawberry.type(description="The task that was changed.")
class UpdateTaskPayload:
    """Holds it."""

    task: TaskRow = plain("The task as it is now.", type=Task)


@strawberry.type(description="The task that was turned over.")
class ToggleTaskPayload:
    """Holds it."""

    task: TaskRow = plain("The task as it is now.", type=Task)


@strawberry.type(description="The task that was deleted.")
class DeleteTaskPayload:
    """Names it."""

    deleted_task_id: strawberry.ID = plain("The id it had.")


@strawberry.type(description="The tasks that were deleted.")
class DeleteCompletedTasksPayload:
    """Names them."""

    deleted_task_ids: list[strawberry.ID] = plain("The ids they had.")


@strawberry.type(description="A record that could not be imported.")
class ImportRejection:
    """Read from a Rejected."""

    index: int = plain("Its place in the list; the first is 0.")
    reason: str = plain("What is wrong with it, in words.")


@strawberry.type(description="What has become of the records of the file.")
class ImportTasksPayload:
    """Read from an ImportReport."""

    created: int = plain("So many are new tasks now.")
    unchanged: int = plain("So many had been imported before; their tasks stay as they are.")
    rejected: list[ImportRejection] = plain("Those that were left out.")


TaskId = Annotated[strawberry.ID, argument("The id of a task.")]


@strawberry.type
class Query:
    """What can be asked."""

    @query("One of my tasks; null when I have none of this id.", who=SignedIn, type=Task | None)
    async def task(self, info: Info, id: TaskId) -> TaskRow | None:
        return await TaskById.of(info.context).load(parse_id("task", id))

    @query("My tasks, newest first unless ordered otherwise.", who=SignedIn, type=Connection[Task])
    async def tasks(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: Annotated[TaskFilterInput | None, argument("Which of them.")] = None,
        order_by: Annotated[TaskOrder | None, argument("How they are sorted.")] = None,
    ) -> Listing:
        context = info.context
        asked = window(context, first=first, after=after, last=last, before=before)
        which = TaskFilter(**given(filter)) if filter else TaskFilter()
        read = context.read if which.search is None else context.search
        page = await read(Tasks, lambda tasks: tasks.page(asked, which, _order(order_by)))
        return Listing(page, lambda: read(Tasks, lambda tasks: tasks.count(which)))

    @query("How many tasks I have.", who=SignedIn, type=TaskStats)
    async def task_stats(self, info: Info) -> TaskStatsRow:
        return await info.context.read(Tasks, Tasks.stats)


@strawberry.type
class Mutation:
    """What can be changed."""

    @mutation("Makes a task.", who=SignedIn)
    async def create_task(
        self, info: Info, input: Annotated[CreateTaskInput, argument("The task.")]
    ) -> CreateTaskPayload:
        asked = given(input)
        key = asked.pop("idempotency_key", None)
        task = await info.context.once(
            Tasks,
            lambda tasks: tasks.create(**asked),
            key=key,
            asked=("createTask", asked),
            answer=TaskRow,
        )
        await announce(info.context, ChangeKind.CREATED, task.id)
        return CreateTaskPayload(task=task)

    @mutation("Changes a task.", who=SignedIn)
    async def update_task(
        self, info: Info, input: Annotated[UpdateTaskInput, argument("The changes.")]
    ) -> UpdateTaskPayload:
        changes = given(input)
        task_id = parse_id("task", changes.pop("id"))
        task = await info.context.write(Tasks, lambda tasks: tasks.change(task_id, **changes))
        await announce(info.context, ChangeKind.UPDATED, task.id)
        return UpdateTaskPayload(task=task)

    @mutation("Makes a done task open, an open one done.", who=SignedIn)
    async def toggle_task(
        self, info: Info, input: Annotated[ToggleTaskInput, argument("The task.")]
    ) -> ToggleTaskPayload:
        task_id = parse_id("task", input.id)
        task = await info.context.write(Tasks, lambda tasks: tasks.toggle(task_id))
        await announce(info.context, ChangeKind.UPDATED, task.id)
        return ToggleTaskPayload(task=task)

    @mutation("Deletes a task.", who=SignedIn)
    async def delete_task(
        self, info: Info, input: Annotated[DeleteTaskInput, argument("The task.")]
    ) -> DeleteTaskPayload:
        task_id = parse_id("task", input.id)
        await info.context.write(Tasks, lambda tasks: tasks.remove(task_id))
        await announce(info.context, ChangeKind.DELETED, task_id)
        return DeleteTaskPayload(deleted_task_id=input.id)

    @mutation("Deletes every task that is done.", who=SignedIn)
    async def delete_completed_tasks(self, info: Info) -> DeleteCompletedTasksPayload:
        removed = await info.context.write(Tasks, Tasks.remove_completed)
        await announce(info.context, ChangeKind.DELETED, *removed)
        return DeleteCompletedTasksPayload(
            deleted_task_ids=[id_of("task", found) for found in removed]
        )

    @mutation(
        "Imports the tasks of the old console application; a second run changes nothing.",
        who=SignedIn,
        type=ImportTasksPayload,
    )
    async def import_tasks(
        self, info: Info, input: Annotated[ImportTasksInput, argument("The file.")]
    ) -> ImportReport:
        dry_run = input.dry_run is True

        async def work(imports: Imports) -> ImportReport:
            async for report in bring_in(
                lambda step: step(imports), old_tasks([input.json]), dry_run=dry_run
            ):
                last = report
            return last

        report = await info.context.transact(Imports, work)
        await announce(info.context, ChangeKind.CREATED, *report.created_ids)
        return report


@strawberry.type
class Subscription:
    """What can be followed."""

    @subscription("My tasks as they change, from now on.", who=SignedIn, type=TaskChange)
    async def task_changed(self, info: Info) -> AsyncIterator[Change]:
        async for change in follow(info.context):
            yield change


def _order(asked: TaskOrder | None) -> Order:
    if asked is None:
        return Order("created_at", descending=True)
    return Order(asked.field.value, descending=asked.direction is OrderDirection.DESC)
