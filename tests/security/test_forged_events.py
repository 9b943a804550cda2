"""Whoever can write to the event bus makes readers query their own rows again, and nothing else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from nats.aio.client import Client as Nats
from redis.asyncio import Redis

from db.events import open_events
from db.kit.base import new_id
from db.runs import RunState
from db.services import Services
from db.workbench.execution.runner import CANCEL_TOPIC
from graph.kit.ids import parse_id
from graph.tasks.changes import TaskChangeKind, _ChangeEvent
from tests.db.workbench.execution.test_run_replicas import OpenReplica, replica, sit
from tests.fixtures.brokers import running
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_task
from tests.fixtures.patience import patience
from tests.fixtures.runs import Desk, RunServer
from tests.graph.tasks.test_tasks import followed

__all__ = ["replica", "sit"]

CHANGES = "subscription { taskChanged { kind taskId count task { title } } }"


async def test_forged_cancel_stops_neither_a_run_nor_the_watch_for_cancels(
    replica: OpenReplica,
    sit: Callable[[RunServer], Desk],
) -> None:
    async with replica() as one, replica() as other:
        run = await sit(one).start("SELECT pg_sleep(60)")
        await sit(one).until_backend(run)
        forged = ["no id", "", "\0", new_id().hex, run.id.hex]
        async with one.events.subscribe(CANCEL_TOPIC) as seen:
            for payload in forged:
                await other.events.publish(CANCEL_TOPIC, payload)
            async with patience():
                while (await anext(seen)).payload != forged[-1]:
                    pass
        assert (await sit(one).now(run)).state == RunState.RUNNING
        verdict = await other.runner.cancel(run.owner_id, run.id)
        assert verdict.outcome == "CANCELLED"  # TERMINATED if the watch had died


async def test_forged_change_of_tasks_shows_the_own_rows_as_they_are(
    ada: Client, bob: Client, services: Services
) -> None:
    assert ada.user is not None
    hers, his = await make_task(ada, title="hers"), await make_task(bob, title="his")

    async def forge(kind: TaskChangeKind, *ids: str, imported: int = 0) -> None:
        raw = [parse_id("task", task_id) for task_id in ids]
        payload = msgspec.json.encode(_ChangeEvent(kind, raw, imported)).decode()
        await publish(payload)

    async def publish(payload: str) -> None:
        assert ada.user is not None
        await services.events.publish(f"tasks:{ada.user.id.hex}", payload)

    async with patience(), ada.follow(CHANGES) as changes:
        coming = asyncio.ensure_future(anext(changes))
        await followed(services, ada)
        await forge(TaskChangeKind.DELETED, hers)
        first = (await coming).data["taskChanged"]
        assert (first["kind"], first["task"]) == ("UPDATED", {"title": "hers"})
        await forge(TaskChangeKind.UPDATED, his)
        assert (await anext(changes)).data["taskChanged"]["task"] is None
        await forge(TaskChangeKind.IMPORTED, imported=10**9)
        assert (await anext(changes)).data["taskChanged"]["count"] == 1  # she has one task
        for payload in ("no JSON", "[]", '["DROPPED",[]]', '["UPDATED",["x"]]'):
            await publish(payload)
        real = await make_task(ada, title="real")
        while (change := (await anext(changes)).data["taskChanged"])["taskId"] != real:
            assert change["task"] is not None or change["taskId"] is None


Publish = Callable[[str, bytes], Awaitable[object]]


@contextlib.asynccontextmanager
async def redis_client(url: str) -> AsyncIterator[Publish]:
    client = Redis.from_url(url)
    yield client.publish
    await client.aclose()


@contextlib.asynccontextmanager
async def nats_client(url: str) -> AsyncIterator[Publish]:
    client = Nats()
    await client.connect(url)
    yield client.publish
    await client.close()  # sends what is left


CLIENTS = {"redis": redis_client, "nats": nats_client}
FORGED = (b"\xff\xfe", b"", b"{", b"[]", b"null", b'["mine",5]', b'[["mine",5]]', b"\x00" * 9_000)


@pytest.mark.parametrize("kind", CLIENTS)
async def test_forged_bytes_do_not_interrupt_the_bus(kind: str, tmp_path: Path) -> None:
    async with running(kind, tmp_path) as broker, CLIENTS[kind](broker.url) as publish:
        bus = await open_events(broker.url, channel="events")
        try:
            async with bus.subscribe("mine") as mine:
                for forged in FORGED:
                    await publish("events", forged)
                await publish("events", b'["mine","forged"]')
                async with patience():
                    assert (await anext(mine)).payload == "forged"
                await bus.publish("mine", "real")
                async with patience():
                    event = await anext(mine)
                assert (event.payload, event.missed) == ("real", False)
        finally:
            await bus.close()
