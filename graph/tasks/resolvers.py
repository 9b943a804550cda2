"""Queries, mutations and subscriptions of tasks."""

from collections.abc import AsyncIterator
from typing import Annotated

import strawberry

from db.kit.lists.paging import SortOrder, Window
from db.tasks import (
    ImportReport,
    Imports,
    TaskRow,
    Tasks,
    TaskStatsRow,
    import_records,
    parse_legacy_tasks,
)
from db.tasks import TaskFilter as RowFilter
from graph.auth import SignedIn
from graph.context import Info
from graph.kit.fields import argument, mutation, provided_fields, query, subscription
from graph.kit.ids import id_of, parse_id
from graph.kit.paging import Connection, Listing, OrderDirection, paged
from graph.kit.scopes import TASKS
from graph.tasks.changes import Change, TaskChangeKind, follow, publish_change, publish_import
from graph.tasks.inputs import (
    CreateTaskInput,
    CreateTaskPayload,
    DeleteCompletedTasksPayload,
    DeleteTaskInput,
    DeleteTaskPayload,
    ImportTasksInput,
    ImportTasksPayload,
    TaskFilter,
    TaskOrder,
    ToggleTaskInput,
    ToggleTaskPayload,
    UpdateTaskInput,
    UpdateTaskPayload,
)
from graph.tasks.types import Task, TaskById, TaskChange, TaskStats

TaskId = Annotated[strawberry.ID, argument("ID of the task.")]

SCOPES = TASKS


@strawberry.type
class Query:
    @query(
        "Fetches a task the viewer owns by its ID. Returns null if it does not exist.",
        who=SignedIn,
        type=Task | None,
    )
    async def task(self, info: Info, id: TaskId) -> TaskRow | None:
        return await TaskById.of(info.context).load(parse_id("task", id))

    @query(
        "Lists the viewer's tasks, newest first unless `orderBy` is set.",
        who=SignedIn,
        type=Connection[Task],
    )
    @paged
    async def tasks(
        self,
        info: Info,
        window: Window,
        filter: Annotated[
            TaskFilter | None, argument("Conditions to apply. Defaults to none.")
        ] = None,
        order_by: Annotated[
            TaskOrder | None, argument("Sort order. Defaults to `createdAt`, newest first.")
        ] = None,
    ) -> Listing:
        context = info.context
        filters = RowFilter(**provided_fields(filter)) if filter else RowFilter()
        read = context.read if filters.search is None else context.search
        page = await read(Tasks, lambda tasks: tasks.page(window, filters, _order(order_by)))
        return Listing(page, lambda: read(Tasks, lambda tasks: tasks.count(filters)))

    @query("Counts the viewer's tasks.", who=SignedIn, type=TaskStats)
    async def task_stats(self, info: Info) -> TaskStatsRow:
        return await info.context.read(Tasks, Tasks.stats)


@strawberry.type
class Mutation:
    @mutation("Creates a task.", who=SignedIn)
    async def create_task(
        self, info: Info, input: Annotated[CreateTaskInput, argument("Task to create.")]
    ) -> CreateTaskPayload:
        values = provided_fields(input)
        key = values.pop("idempotency_key", None)
        quota = info.context.services.quotas.tasks

        async def create(tasks: Tasks) -> TaskRow:
            await quota.check(tasks)
            return await tasks.create(**values)

        task = await info.context.once(
            Tasks,
            create,
            key=key,
            request=("createTask", values),
            answer=TaskRow,
        )
        await publish_change(info.context, TaskChangeKind.CREATED, task.id)
        return CreateTaskPayload(task=task)

    @mutation("Updates a task the viewer owns.", who=SignedIn)
    async def update_task(
        self, info: Info, input: Annotated[UpdateTaskInput, argument("Task and its new values.")]
    ) -> UpdateTaskPayload:
        changes = provided_fields(input)
        task_id = parse_id("task", changes.pop("id"))
        task = await info.context.write(Tasks, lambda tasks: tasks.change(task_id, **changes))
        await publish_change(info.context, TaskChangeKind.UPDATED, task.id)
        return UpdateTaskPayload(task=task)

    @mutation(
        "Toggles a task between open and completed. A retry toggles it again unless it passes "
        "`expectedVersion`; `updateTask` sets a given state.",
        who=SignedIn,
    )
    async def toggle_task(
        self, info: Info, input: Annotated[ToggleTaskInput, argument("Task to toggle.")]
    ) -> ToggleTaskPayload:
        task_id = parse_id("task", input.id)
        version = provided_fields(input).get("expected_version")
        task = await info.context.write(
            Tasks, lambda tasks: tasks.toggle(task_id, expected_version=version)
        )
        await publish_change(info.context, TaskChangeKind.UPDATED, task.id)
        return ToggleTaskPayload(task=task)

    @mutation("Deletes a task the viewer owns.", who=SignedIn)
    async def delete_task(
        self, info: Info, input: Annotated[DeleteTaskInput, argument("Task to delete.")]
    ) -> DeleteTaskPayload:
        task_id = parse_id("task", input.id)
        await info.context.write(Tasks, lambda tasks: tasks.remove(task_id))
        await publish_change(info.context, TaskChangeKind.DELETED, task_id)
        return DeleteTaskPayload(deleted_task_id=input.id)

    @mutation("Deletes all completed tasks of the viewer.", who=SignedIn)
    async def delete_completed_tasks(self, info: Info) -> DeleteCompletedTasksPayload:
        removed = await info.context.write(Tasks, Tasks.remove_completed)
        await publish_change(info.context, TaskChangeKind.DELETED, *removed)
        return DeleteCompletedTasksPayload(
            deleted_task_ids=[id_of("task", found) for found in removed]
        )

    @mutation(
        "Imports tasks from the JSON file of the old console application. "
        "Records that were already imported are left unchanged, so an import can be repeated.",
        who=SignedIn,
        type=ImportTasksPayload,
    )
    async def import_tasks(
        self, info: Info, input: Annotated[ImportTasksInput, argument("File to import.")]
    ) -> ImportReport:
        dry_run = input.dry_run

        async def work(imports: Imports) -> ImportReport:
            async for report in import_records(
                lambda step: step(imports), parse_legacy_tasks([input.json]), dry_run=dry_run
            ):
                last = report
            if last.created and not dry_run:
                await info.context.services.quotas.tasks.check_inserted(imports)
            return last

        report = await info.context.transact(Imports, work)
        context = info.context
        if not dry_run:
            await publish_import(context.services.events, context.owner, report.created)
        return report


@strawberry.type
class Subscription:
    @subscription(
        "Sends changes to the viewer's tasks as they happen, starting at the time of subscribing. "
        "Ends with `OVERLOADED` if the client leaves more than 10,000 changes unread.",
        who=SignedIn,
        type=TaskChange,
    )
    async def task_changed(self, info: Info) -> AsyncIterator[Change]:
        async for change in follow(info.context):
            yield change


def _order(order_by: TaskOrder | None) -> SortOrder:
    if order_by is None:
        return SortOrder("created_at", descending=True)
    return SortOrder(order_by.field.value, descending=order_by.direction is OrderDirection.DESC)
