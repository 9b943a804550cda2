"""Tells those who follow their tasks what has changed: after the commit, on every replica."""

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

IDS_IN_AN_EVENT = 150  # as text within text, still under the bus's FRAME_LIMIT
# A change becomes visible at its commit, a little after the moment it carries.
OVERLAP = timedelta(seconds=5)


@strawberry.enum(description="What has happened to a task.")
class ChangeKind(Enum):
    """As it travels in events too."""

    CREATED = enum_value("CREATED", "It was made.")
    UPDATED = enum_value("UPDATED", "It was changed.")
    DELETED = enum_value("DELETED", "It is gone.")


class Change(NamedTuple):
    """One change, with the task as it is by the time it is told."""

    kind: ChangeKind
    id: UUID
    task: TaskRow | None


class _Announcement(msgspec.Struct, array_like=True):
    kind: ChangeKind
    ids: Sequence[UUID]


async def announce(context: Context, kind: ChangeKind, *ids: UUID) -> None:
    await announce_to(context.services.events, context.owner, kind, *ids)


async def announce_to(events: EventBus, owner: OwnerId, kind: ChangeKind, *ids: UUID) -> None:
    for start in range(0, len(ids), IDS_IN_AN_EVENT):
        payload = msgspec.json.encode(_Announcement(kind, ids[start : start + IDS_IN_AN_EVENT]))
        await events.publish(_topic(owner), payload.decode())


async def follow(context: Context) -> AsyncIterator[Change]:
    """Changes from now on. Where events were missed, what the table says has changed since."""
    async with context.services.events.subscribe(_topic(context.owner)) as events:
        watch = _Watch(context, await context.read(Tasks, Tasks.now))
        async for event in events:
            changes = watch.since() if event.missed else watch.told(event.payload)
            async for change in changes:
                yield change


class _Watch:
    """What one reader has been told, so that catching up tells nothing twice."""

    def __init__(self, context: Context, moment: datetime) -> None:
        self._context = context
        self._moment = moment
        self._told: dict[UUID, int] = {}

    async def told(self, payload: str) -> AsyncIterator[Change]:
        announced = msgspec.json.decode(payload, type=_Announcement)
        found = {}
        if announced.kind is not ChangeKind.DELETED:
            rows = await self._context.read(Tasks, lambda tasks: tasks.get_many(announced.ids))
            found = {row.id: row for row in rows}
        for task_id in announced.ids:
            yield self._change(announced.kind, task_id, found.get(task_id))

    async def since(self) -> AsyncIterator[Change]:
        moment = self._moment - OVERLAP
        for row in await self._context.read(Tasks, lambda tasks: tasks.changed_since(moment)):
            if self._told.get(row.id) != row.version:
                yield self._change(ChangeKind.UPDATED, row.id, row)

    def _change(self, kind: ChangeKind, task_id: UUID, row: TaskRow | None) -> Change:
        if row is None:
            self._told.pop(task_id, None)
            return Change(ChangeKind.DELETED, task_id, None)
        self._remember(row)
        return Change(kind, task_id, row)

    def _remember(self, row: TaskRow) -> None:
        self._told[row.id] = row.version
        self._moment = max(self._moment, datetime.fromisoformat(row.updated_at))
        if len(self._told) > 2_000:
            del self._told[next(iter(self._told))]


def _topic(owner: OwnerId) -> str:
    return f"tasks:{owner.hex}"
