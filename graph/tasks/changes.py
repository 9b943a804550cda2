"""Publishes changes to tasks after the commit and streams them to subscribers on any replica."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple
from uuid import UUID

import msgspec
import strawberry

from db.events import EventBus
from db.kit.base import OwnerId
from db.tasks import TaskRow, Tasks
from graph.context import Context
from graph.kit.fields import enum_value

MAX_IDS_PER_EVENT = 150  # as JSON inside JSON this stays below the `FRAME_LIMIT` of the bus
# A row becomes visible when its transaction commits, which is later than its `updated_at`.
OVERLAP = timedelta(seconds=5)
MAX_REMEMBERED = 2_000


@strawberry.enum(description="Kind of change to a task.")
class ChangeKind(Enum):
    """The values are also the wire format of events."""

    CREATED = enum_value("CREATED", "The task was created or imported.")
    UPDATED = enum_value(
        "UPDATED", "The task was updated or toggled, or changed while events were missed."
    )
    DELETED = enum_value("DELETED", "The task was deleted.")


class Change(NamedTuple):
    """One change, with the state of the task when the change is delivered."""

    kind: ChangeKind
    id: UUID
    task: TaskRow | None


class _Event(msgspec.Struct, array_like=True):
    kind: ChangeKind
    ids: Sequence[UUID]


async def announce(context: Context, kind: ChangeKind, *ids: UUID) -> None:
    await announce_to(context.services.events, context.owner, kind, *ids)


async def announce_to(events: EventBus, owner: OwnerId, kind: ChangeKind, *ids: UUID) -> None:
    for start in range(0, len(ids), MAX_IDS_PER_EVENT):
        payload = msgspec.json.encode(_Event(kind, ids[start : start + MAX_IDS_PER_EVENT]))
        await events.publish(_topic(owner), payload.decode())


async def follow(context: Context) -> AsyncIterator[Change]:
    """Yields changes from now on. After missed events it reads the changed rows from the table."""
    async with context.services.events.subscribe(_topic(context.owner)) as events:
        delivered = _DeliveredChanges(context, await context.read(Tasks, Tasks.now))
        async for event in events:
            changes = delivered.catch_up() if event.missed else delivered.read_event(event.payload)
            async for change in changes:
                yield change


class _DeliveredChanges:
    """Remembers the versions sent to one subscriber, so that catching up repeats none of them."""

    def __init__(self, context: Context, since: datetime) -> None:
        self._context = context
        self._latest = since
        self._versions: dict[UUID, int] = {}

    async def read_event(self, payload: str) -> AsyncIterator[Change]:
        announced = msgspec.json.decode(payload, type=_Event)
        found = {}
        if announced.kind is not ChangeKind.DELETED:
            rows = await self._context.read(Tasks, lambda tasks: tasks.get_many(announced.ids))
            found = {row.id: row for row in rows}
        for task_id in announced.ids:
            yield self._change(announced.kind, task_id, found.get(task_id))

    async def catch_up(self) -> AsyncIterator[Change]:
        since = self._latest - OVERLAP
        for row in await self._context.read(Tasks, lambda tasks: tasks.changed_since(since)):
            if self._versions.get(row.id) != row.version:
                yield self._change(ChangeKind.UPDATED, row.id, row)

    def _change(self, kind: ChangeKind, task_id: UUID, row: TaskRow | None) -> Change:
        if row is None:
            self._versions.pop(task_id, None)
            return Change(ChangeKind.DELETED, task_id, None)
        self._remember(row)
        return Change(kind, task_id, row)

    def _remember(self, row: TaskRow) -> None:
        self._versions[row.id] = row.version
        self._latest = max(self._latest, datetime.fromisoformat(row.updated_at))
        if len(self._versions) > MAX_REMEMBERED:
            del self._versions[next(iter(self._versions))]


def _topic(owner: OwnerId) -> str:
    return f"tasks:{owner.hex}"
