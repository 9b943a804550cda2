"""The limit with gathering: the bare ASGI function, which sends concurrent statements together.

A statement is sent by itself while fewer than FLIGHTS are under way; what waits for them then
becomes one statement. Rows of all owners are matched by their unique IDs.
"""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import uvloop

from bench.peers import limit_server as limit
from bench.peers.limit_server import TASK, Variables, as_task
from db.kit.base import new_id

FLIGHTS = 2
TASKS = ", ".join(f"tasks.{column}" for column in TASK.split(", "))
PAIRS = "unnest($1::uuid[], $2::uuid[]) AS asked (id, owner_id)"
ONES = f"SELECT {TASKS} FROM {PAIRS} JOIN tasks USING (id, owner_id)"
CREATES = f"""
INSERT INTO tasks (id, owner_id, title)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[]) RETURNING {TASK}
"""
TOGGLES = f"""
UPDATE tasks SET completed = NOT completed, updated_at = now(), version = version + 1,
    completed_at = CASE WHEN completed THEN NULL ELSE now() END
FROM {PAIRS} WHERE tasks.id = asked.id AND tasks.owner_id = asked.owner_id RETURNING {TASKS}
"""


class Gatherer:
    """Sends one kind of statement for many callers; the first argument of each is a row's ID."""

    def __init__(self, sql: str) -> None:
        self._sql = sql
        self._waiting: dict[UUID, tuple[Sequence[Any], asyncio.Future[Any]]] = {}
        self._flights = 0

    async def row(self, row_id: UUID, *arguments: Any) -> Any:
        while (waiting := self._waiting.get(row_id)) is not None:
            await asyncio.wait([waiting[1]])
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[row_id] = (row_id, *arguments), future
        self._send()
        return await future

    def _send(self) -> None:
        if self._waiting and self._flights < FLIGHTS:
            batch, self._waiting = self._waiting, {}
            self._flights += 1
            task = asyncio.ensure_future(self._fetch(batch))
            task.add_done_callback(self._land)

    def _land(self, task: "asyncio.Future[None]") -> None:
        self._flights -= 1
        self._send()
        task.result()

    async def _fetch(self, batch: dict[UUID, tuple[Sequence[Any], asyncio.Future[Any]]]) -> None:
        columns = zip(*(batch[row_id][0] for row_id in sorted(batch)), strict=True)
        connection = await limit.free.get()
        try:
            found = await connection.fetch(self._sql, *columns)
        finally:
            limit.free.put_nowait(connection)
        for record in found:
            batch[record[0]][1].set_result(record)


_ones, _creates, _toggles = Gatherer(ONES), Gatherer(CREATES), Gatherer(TOGGLES)


async def task(asked: Variables) -> object:
    return {"task": as_task(await _ones.row(limit.task_id(asked), limit.owner(asked)))}


async def create(asked: Variables) -> object:
    made = await _creates.row(new_id(), limit.owner(asked), asked["title"])
    return {"createTask": {"task": as_task(made)}}


async def toggle(asked: Variables) -> object:
    turned = await _toggles.row(limit.task_id(asked), limit.owner(asked))
    return {"toggleTask": {"task": as_task(turned)}}


if __name__ == "__main__":
    limit.ANSWERS |= {"/task": task, "/create": create, "/toggle": toggle}
    uvloop.run(limit.main())
