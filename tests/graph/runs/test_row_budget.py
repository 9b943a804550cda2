"""Pages of the rows of runs are large reads, of which a user has few at once, and holds few."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from db.errors import Overloaded
from db.kit.base import new_id
from db.users import Role
from graph.auth import Viewer
from graph.context import Context
from graph.operations.admission import HELD_BYTES, Admission, Presence
from graph.runs.results.row_budget import MAX_OPERATION_BYTES, RowBudget


async def test_rows_of_runs_are_read_one_page_at_a_time_while_others_are_active() -> None:
    admission, reading, most = Admission(Presence(lambda: 0.0)), 0, 0

    async def rows(*_: object, **__: object) -> list[bytes]:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        await asyncio.sleep(0)
        reading -= 1
        return [b"[1]"]

    database = SimpleNamespace(round_trip_s=0.0, concurrency=2, size=32)
    services = cast("Any", SimpleNamespace(database=database, results=SimpleNamespace(rows=rows)))

    async def read(viewer: Viewer) -> None:
        context = Context(services=services, viewer=viewer, request_id="r")
        slot = await admission.slot(context)
        assert await RowBudget.of(context).read(new_id(), offset=0, first=10) == [b"[1]"]
        slot.end()

    ada, bob = (Viewer(new_id(), Role.USER, cast("Any", None)) for _ in range(2))
    await asyncio.gather(*(read(ada) for _ in range(8)))
    assert most == 2
    most = 0
    await read(bob)
    await asyncio.gather(*(read(ada) for _ in range(8)))
    assert most == 1


async def test_operations_of_a_user_hold_no_more_rows_than_allowed_until_they_end() -> None:
    admission = Admission(Presence(lambda: 0.0))
    large = b" " * MAX_OPERATION_BYTES

    async def rows(*_: object, **__: object) -> list[bytes]:
        return [large]

    database = SimpleNamespace(round_trip_s=0.0, concurrency=2, size=32)
    services = cast("Any", SimpleNamespace(database=database, results=SimpleNamespace(rows=rows)))
    ada, bob = (Viewer(new_id(), Role.USER, cast("Any", None)) for _ in range(2))

    async def begin(viewer: Viewer) -> Context:
        context = Context(services=services, viewer=viewer, request_id="r")
        await admission.slot(context)
        await RowBudget.of(context).read(new_id(), offset=0, first=10)
        context.release_slot()
        return context

    most = HELD_BYTES // MAX_OPERATION_BYTES
    first, *others = [await begin(ada) for _ in range(most)]
    with pytest.raises(Overloaded, match="hold results"):
        await begin(ada)
    others.append(await begin(bob))
    first.slot.close()
    others.append(await begin(ada))
    for context in others:
        context.slot.close()
        context.slot.hold(HELD_BYTES)  # a batch of a loader that returns later
    for _ in range(most):
        await begin(ada)
