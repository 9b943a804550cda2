"""Admission: urgent, heavy and refused operations."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from graphql import parse

from db.kit.base import new_id
from db.users import Role
from graph.auth import Viewer
from graph.context import Context
from graph.executor.document import select_operation
from graph.operations.admission import (
    ACTIVE_S,
    MAX_URGENT_CONCURRENCY,
    UNIT_FIELDS,
    Admission,
    Presence,
    Slot,
)
from graph.operations.root_fields import is_urgent
from graph.schema import schema
from tests.fixtures.patience import PATIENCE_S, patience

CANCEL = "cancelQuery(input: {id: $id}) { latencyMs }"
ME = Viewer(new_id(), Role.USER, cast("Any", None))


YOU = Viewer(new_id(), Role.USER, cast("Any", None))
THEM = Viewer(new_id(), Role.USER, cast("Any", None))
PAGE = 400
"""The cost of a page."""


def context(viewer: Viewer | None = ME, round_trip_s: float = 0.0002) -> Context:
    database = SimpleNamespace(round_trip_s=round_trip_s, concurrency=2, size=32)
    services = SimpleNamespace(database=database)
    return Context(services=cast("Any", services), viewer=viewer, request_id="r")


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Flood:
    """Operations of one viewer: how many run, and how to end them."""

    def __init__(self, admission: Admission, of: Context, count: int, cost: int = 0) -> None:
        self.running: list[Slot] = []
        self._admission, self._of, self._cost = admission, of, cost
        self._tasks = [asyncio.create_task(self._run()) for _ in range(count)]

    async def _run(self) -> None:
        self.running.append(await self._admission.slot(self._of, cost=self._cost))

    def end_one(self) -> None:
        self.running.pop(0).end()

    async def end(self) -> None:
        while self.running:
            self.end_one()
            await settled()
        assert all(task.done() for task in self._tasks), "an operation waits for ever"


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    return Admission(Presence(clock))


@pytest.mark.parametrize(
    ("text", "urgent"),
    [
        (f"mutation($id: ID!) {{ {CANCEL} }}", True),
        (f"mutation($id: ID!) {{ one: {CANCEL} two: {CANCEL} }}", True),
        (
            f"mutation($id: ID!) {{ {CANCEL} toggleTask(input: {{id: $id}}) {{ task {{ id }} }} }}",
            False,
        ),
        (f"mutation($id: ID!) {{ ...F }} fragment F on Mutation {{ {CANCEL} }}", False),
        ("{ taskStats { open } }", False),
        ("{ __typename }", False),
    ],
)
def test_urgent_is_true_only_if_all_fields_are_marked(text: str, *, urgent: bool) -> None:
    operation = select_operation(parse(text), None)
    assert is_urgent(schema._schema, operation.definition) is urgent


async def test_user_alone_runs_everything_at_once(admission: Admission) -> None:
    flood = Flood(admission, context(), 64)
    await settled()
    assert len(flood.running) == 64
    await flood.end()
    pages = Flood(admission, context(), 64, PAGE)
    await settled()
    assert 20 < len(pages.running) < 64  # their work fills the process just as well
    await pages.end()


@pytest.mark.parametrize("cost", [0, PAGE, 50 * PAGE])
async def test_newcomer_starts_at_once_and_flood_falls_to_its_share(
    admission: Admission, cost: int
) -> None:
    flood = Flood(admission, context(), 200, cost)
    await settled()
    alone = len(flood.running)
    (await asyncio.wait_for(admission.slot(context(YOU)), PATIENCE_S)).end()
    for _ in range(alone - 1):  # nothing more starts until what runs has fallen to the share
        flood.end_one()
        await settled()
    shared = len(flood.running)
    assert 1 <= shared <= min(alone, 6)
    for _ in range(20):
        flood.end_one()
        await settled()
        assert len(flood.running) == shared
    await flood.end()


async def test_user_is_alone_again_when_the_others_have_left(
    admission: Admission, clock: Clock
) -> None:
    (await admission.slot(context(YOU))).end()
    flood = Flood(admission, context(), 64)
    await settled()
    shared = len(flood.running)
    assert shared < 10
    clock.now += 2 * ACTIVE_S
    flood.end_one()
    await settled()
    assert len(flood.running) >= 63
    await flood.end()


async def test_probes_and_urgent_operations_leave_a_user_alone(admission: Admission) -> None:
    (await admission.slot(context(None))).end()
    (await admission.slot(context(YOU), urgent=True)).end()
    flood = Flood(admission, context(), 64)
    await settled()
    assert len(flood.running) == 64
    await flood.end()


async def test_running_operation_counts_as_active_however_long_it_takes(
    admission: Admission, clock: Clock
) -> None:
    theirs = await admission.slot(context(YOU))
    clock.now += 60
    flood = Flood(admission, context(), 64)
    await settled()
    assert len(flood.running) < 10
    theirs.end()
    await flood.end()


async def test_floods_of_two_users_share_what_one_would_have(admission: Admission) -> None:
    one = Flood(admission, context(ME), 50)
    other = Flood(admission, context(YOU), 50)
    (await admission.slot(context(THEM))).end()
    await settled()
    for _ in range(150):  # ends what one of them had alone
        for flood in (one, other):
            if len(flood.running) > 3:
                flood.end_one()
        await settled()
    assert {len(one.running), len(other.running)} <= {2, 3}
    for _ in range(10):
        one.end_one()
        await settled()
        assert len(one.running) + len(other.running) <= 6
    await one.end()
    await other.end()


async def test_distant_database_admits_more_operations_of_one_user(admission: Admission) -> None:
    (await admission.slot(context(YOU))).end()
    near = Flood(admission, context(ME), 100)
    far = Flood(Admission(), context(ME, round_trip_s=0.03), 1_000)
    await settled()
    assert len(near.running) < 10
    assert len(far.running) > 300
    await near.end()
    await far.end()


async def test_light_operation_runs_beside_heavy_one(admission: Admission) -> None:
    (await admission.slot(context(YOU))).end()
    heavy = Flood(admission, context(), 3, 100 * PAGE)
    await settled()
    assert len(heavy.running) == 1
    light = Flood(admission, context(), 1)
    await settled()
    assert not light.running  # in the order of arrival
    for _ in range(2):
        heavy.end_one()
        await settled()
    assert (len(heavy.running), len(light.running)) == (1, 1)
    await heavy.end()
    await light.end()


async def test_urgent_operations_do_not_queue_behind_others(admission: Admission) -> None:
    flood = Flood(admission, context(), 2_000)
    await settled()
    urgent = [await admission.slot(context(), urgent=True) for _ in range(MAX_URGENT_CONCURRENCY)]
    one_more = asyncio.create_task(admission.slot(context(), urgent=True))
    await settled()
    assert not one_more.done()
    for slot in urgent:
        slot.end()
    (await one_more).end()
    await flood.end()


async def test_slot_is_not_lost_when_waiter_is_cancelled(admission: Admission) -> None:
    (await admission.slot(context(YOU))).end()
    flood = Flood(admission, context(), 20)
    await settled()
    gone = [asyncio.create_task(admission.slot(context(), cost=10 * UNIT_FIELDS)) for _ in range(9)]
    await settled()
    for task in gone:
        task.cancel()
    await flood.end()
    await asyncio.gather(*gone, return_exceptions=True)
    assert all(task.cancelled() for task in gone)
    assert not admission._operations.in_use
    (await admission.slot(context())).end()


async def test_slot_ends_once(admission: Admission) -> None:
    slot = await admission.slot(context())
    slot.end()
    slot.end()
    assert not admission._operations.in_use


async def test_documents_of_one_sender_are_prepared_one_at_a_time(admission: Admission) -> None:
    prepared: list[str] = []

    async def prepare(name: str, sender: Context) -> None:
        async with admission.document(sender):
            prepared.append(name)

    mine, stranger = context(), context(None)
    yours = context(YOU)
    flood = [prepare(f"mine {number}", mine) for number in range(20)]
    async with patience():
        await asyncio.gather(*flood, prepare("yours", yours), prepare("stranger", stranger))
    assert set(prepared[:3]) == {"mine 0", "yours", "stranger"}
    assert prepared[3:] == [f"mine {number}" for number in range(1, 20)]


async def test_document_slot_is_released_after_refusal(admission: Admission) -> None:
    for _ in range(3):
        with pytest.raises(ValueError, match="refused"):
            async with admission.document(context()):
                raise ValueError("refused")
