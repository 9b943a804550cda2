"""Publishes changes to tasks after the commit and streams them to subscribers on any replica."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, TypeAlias, TypeVar
from uuid import UUID

import msgspec

from db.errors import Overloaded
from db.events import Event, EventBus, WatchClosed
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.postgres.sessions import ReadSession
from db.tasks import TaskFilter, TaskRow, Tasks
from graph.context import Context
from graph.kit.fields import graphql_enum

T = TypeVar("T")

MAX_IDS_PER_EVENT = 150  # as JSON inside JSON this stays below the `FRAME_LIMIT` of the bus
# A row becomes visible when its transaction commits, which is later than its `updated_at`.
OVERLAP = timedelta(seconds=5)
MAX_REMEMBERED = 2_000
MAX_UNSENT = 10_000


@graphql_enum(
    "Kind of change to a task.",
    CREATED="The task was created.",
    UPDATED="The task was updated or toggled, or changed while events were missed.",
    DELETED="The task was deleted.",
    IMPORTED="An import created `count` tasks. Query the list of tasks again to see them.",
)
class TaskChangeKind(StrEnum):
    """The values are also the wire format of events."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"
    IMPORTED = "IMPORTED"


class Change(NamedTuple):
    """One change, with the state of the task when the change was read."""

    kind: TaskChangeKind
    task_id: UUID | None
    task: TaskRow | None
    task_count: int = 1


Changes: TypeAlias = dict[tuple[TaskChangeKind, UUID | None], Change]
"""The latest change of each kind to each task, in the order in which the keys first occurred.

All imports share the key `(IMPORTED, None)`.
"""


class _ChangeEvent(msgspec.Struct, array_like=True):
    kind: TaskChangeKind
    ids: Sequence[UUID]
    imported: int = 0


async def publish_change(context: Context, kind: TaskChangeKind, *ids: UUID) -> None:
    events, owner = context.services.events, context.owner
    for start in range(0, len(ids), MAX_IDS_PER_EVENT):
        payload = msgspec.json.encode(_ChangeEvent(kind, ids[start : start + MAX_IDS_PER_EVENT]))
        await events.publish(_topic(owner), payload.decode())


async def publish_import(events: EventBus, owner: OwnerId, count: int) -> None:
    """Publishes an import as one change: a client queries the list again, once."""
    if count:
        payload = msgspec.json.encode(_ChangeEvent(TaskChangeKind.IMPORTED, (), count))
        await events.publish(_topic(owner), payload.decode())


async def follow(context: Context) -> AsyncIterator[Change]:
    """Yields changes from now on. After missed events it yields the changed rows of the table.

    A slow subscriber gets each kind of change to a task once, with the latest state of the task.

    Raises:
        Overloaded: The subscriber has fallen too far behind.
    """
    owner, events = context.owner, context.services.events
    topic, reader = _topic(owner), _ChangeReader(context.services.database, owner)
    with contextlib.suppress(WatchClosed):
        async with events.watches.follow(
            (owner, topic), topic, reader.read, merge=_merge, poll_s=None
        ) as watch:
            await watch.started()
            while True:
                changes = await watch.next_change()
                if len(changes) > MAX_UNSENT:
                    raise Overloaded(
                        "The subscription received more changes than the client could read.",
                        hint="Query the tasks again, then subscribe again.",
                        retry_after_s=1,
                        cause="slow_subscriber",
                    )
                for change in changes.values():
                    yield change


class _ChangeReader:
    """Reads the changes to an owner's tasks; remembers the versions, to repeat none of them."""

    def __init__(self, database: Database, owner: OwnerId) -> None:
        self._database = database
        self._owner = owner
        self._latest: datetime | None = None
        self._versions: dict[UUID, int] = {}

    async def read(self, event: Event) -> Changes:
        """Returns the changes since the last call; the first call returns none."""
        if self._latest is None:
            self._latest = await self._query(Tasks.now)
            return {}
        if event.missed:
            changes = await self._changed_since(self._latest - OVERLAP)
        else:
            changes = await self._changes_of(event.payload)
        for change in changes:
            self._remember(change)
        return {(change.kind, change.task_id): change for change in changes}

    async def _changes_of(self, payload: str) -> list[Change]:
        decoded = msgspec.json.decode(payload, type=_ChangeEvent)
        kind, ids, imported = msgspec.structs.astuple(decoded)
        if kind is TaskChangeKind.IMPORTED:
            self._latest = await self._query(Tasks.now)
            own = await self._query(lambda tasks: tasks.count(TaskFilter()))
            return [Change(kind, None, None, min(imported, own))] if min(imported, own) > 0 else []
        rows = await self._query(lambda tasks: tasks.get_many(ids))
        found = {row.id: row for row in rows}
        # The rows decide, not the event: others may be able to write to the bus.
        existing = TaskChangeKind.UPDATED if kind is TaskChangeKind.DELETED else kind
        return [
            Change(
                existing if task_id in found else TaskChangeKind.DELETED,
                task_id,
                found.get(task_id),
            )
            for task_id in ids
        ]

    async def _changed_since(self, moment: datetime) -> list[Change]:
        """Stops above `MAX_UNSENT` changes, where `follow` ends the subscription."""
        changes: list[Change] = []
        async with self._database.read() as session:
            async for rows in Tasks(session, self._owner).changed_since(moment):
                changes += [
                    Change(TaskChangeKind.UPDATED, row.id, row)
                    for row in rows
                    if self._versions.get(row.id) != row.version
                ]
                if len(changes) > MAX_UNSENT:
                    break
        return changes

    def _remember(self, change: Change) -> None:
        if change.task_id is None:
            return
        self._versions.pop(change.task_id, None)
        if change.task is None:
            return
        updated_at = datetime.fromisoformat(change.task.updated_at)
        self._latest = max(self._latest or updated_at, updated_at)
        self._versions[change.task_id] = change.task.version
        if len(self._versions) > MAX_REMEMBERED:
            del self._versions[next(iter(self._versions))]

    async def _query(self, work: Callable[[Tasks[ReadSession]], Awaitable[T]]) -> T:
        async with self._database.read() as session:
            return await work(Tasks(session, self._owner))


def _merge(unsent: Changes, new: Changes) -> Changes:
    """Stops to collect above `MAX_UNSENT`, where `follow` ends the subscription."""
    if len(unsent) > MAX_UNSENT:
        return unsent
    merged, key = unsent | new, (TaskChangeKind.IMPORTED, None)
    if key in unsent and key in new:
        merged[key] = new[key]._replace(task_count=unsent[key].task_count + new[key].task_count)
    return merged


def _topic(owner: OwnerId) -> str:
    return f"tasks:{owner.hex}"
