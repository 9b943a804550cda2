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
from graph.operations.admission import HEAVY, Admission
from graph.operations.root_fields import is_urgent
from graph.operations.slots import AT_ONCE
from graph.schema import schema

CANCEL = "cancelQuery(input: {id: $id}) { latencyMs }"
ME = Viewer(new_id(), Role.USER, cast("Any", None))


def context(viewer: Viewer | None = ME, concurrency: int = AT_ONCE) -> Context:
    services = SimpleNamespace(database=SimpleNamespace(concurrency=concurrency))
    return Context(services=cast("Any", services), viewer=viewer, request_id="r")


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


async def test_urgent_operation_does_not_queue() -> None:
    admission = Admission()
    held = [await admission.slot(context()) for _ in range(AT_ONCE)]
    waiting = [asyncio.create_task(admission.slot(context())) for _ in range(10)]
    await asyncio.sleep(0)
    (await admission.slot(context(), urgent=True)).end()
    assert not any(task.done() for task in waiting)
    for slot in held:
        slot.end()
    for task in waiting:
        (await task).end()


async def test_distant_database_admits_more_operations_of_one_viewer() -> None:
    admission = Admission()
    held = [await admission.slot(context(concurrency=9)) for _ in range(9)]
    waiting = asyncio.create_task(admission.slot(context(concurrency=9)))
    await asyncio.sleep(0)
    assert not waiting.done()
    held.pop().end()
    (await waiting).end()
    for slot in held:
        slot.end()


async def test_heavy_operation_runs_one_at_a_time_beside_light_one() -> None:
    admission = Admission()
    heavy = await admission.slot(context(), cost=HEAVY + 1)
    next_heavy = asyncio.create_task(admission.slot(context(), cost=HEAVY + 1))
    await asyncio.sleep(0)
    (await admission.slot(context())).end()
    assert not next_heavy.done()
    heavy.end()
    (await next_heavy).end()


async def test_heavy_operation_releases_slot_when_cancelled() -> None:
    admission = Admission()
    held = [await admission.slot(context()) for _ in range(AT_ONCE)]
    gone = asyncio.create_task(admission.slot(context(), cost=HEAVY + 1))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    for slot in held:
        slot.end()
    (await admission.slot(context(), cost=HEAVY + 1)).end()


async def test_documents_of_one_sender_are_prepared_one_at_a_time() -> None:
    admission = Admission()
    prepared: list[str] = []

    async def prepare(name: str, sender: Context) -> None:
        async with admission.document(sender):
            prepared.append(name)

    mine, stranger = context(), context(None)
    yours = context(Viewer(new_id(), Role.USER, cast("Any", None)))
    flood = [prepare(f"mine {number}", mine) for number in range(20)]
    async with asyncio.timeout(10):
        await asyncio.gather(*flood, prepare("yours", yours), prepare("stranger", stranger))
    assert set(prepared[:3]) == {"mine 0", "yours", "stranger"}
    assert prepared[3:] == [f"mine {number}" for number in range(1, 20)]


async def test_document_slot_is_released_after_refusal() -> None:
    admission = Admission()
    for _ in range(3):
        with pytest.raises(ValueError, match="refused"):
            async with admission.document(context()):
                raise ValueError("refused")


async def test_refusals_are_limited_to_one_per_network_and_iteration() -> None:
    admission = Admission()
    refused: list[str] = []

    async def refuse(address: str) -> None:
        await admission.refusal(address)
        refused.append(address)

    gone = asyncio.create_task(refuse("192.0.2.1"))
    await asyncio.sleep(0)
    gone.cancel()
    flood = [asyncio.create_task(refuse("192.0.2.1")) for _ in range(20)]
    other = asyncio.create_task(refuse("192.0.2.2"))
    await other
    assert len(refused) <= 3
    for _ in range(100):  # far sooner than a slot that was lost would end
        await asyncio.sleep(0)
    assert all(task.done() for task in flood)
