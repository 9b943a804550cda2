"""Users who work beside the sessions: tasks, subscriptions, and databases that do not answer."""

import asyncio
import random
from uuid import uuid4

from tests.fixtures.replicas import Socket
from tests.survival.soak.actor import IsOver
from tests.survival.soak.client import PAUSE_S, Client
from tests.survival.soak.ledger import Fate, Ledger
from tests.survival.soak.replicas import Replicas

CREATE = "mutation($input: CreateTaskInput!) { createTask(input: $input) { task { id } } }"
COMPLETE = """mutation($id: ID!) {
  updateTask(input: {id: $id, completed: true}) { task { completed } } }"""
LIST = "{ tasks(first: 20) { totalCount nodes { id title completed } } }"
CHANGES = "subscription { taskChanged { kind taskId } }"
RUN = """mutation($input: ExecuteQueryInput!) {
  executeQuery(input: $input) { run { id state command error { sqlstate message } } } }"""


async def keep_tasks(client: Client, ledger: Ledger, dice: random.Random, is_over: IsOver) -> None:
    """Creates, changes and lists tasks. Each request may be repeated, so that none fails."""
    while not is_over():
        row = ledger.new_row()
        ledger.settle([row], Fate.EITHER)
        values = {"title": str(row), "idempotencyKey": str(row)}
        created = await client.ask_until_answered(CREATE, input=values)
        ledger.settle([row], Fate.PRESENT)
        if dice.random() < 0.5:
            await client.ask_until_answered(COMPLETE, id=created["createTask"]["task"]["id"])
        await client.ask_until_answered(LIST)
        await asyncio.sleep(dice.uniform(0, PAUSE_S))


async def follow_tasks(client: Client, replicas: Replicas, is_over: IsOver) -> None:
    """Subscribes again after each end: a replica stops or is killed."""
    while not is_over():
        _, server = replicas.choose()
        address = server.address.removeprefix("http://").partition("/")[0]
        try:
            async with Socket.opened(address, client.headers) as socket:
                await socket.subscribe(CHANGES)
                while not is_over():
                    async with asyncio.timeout(PAUSE_S * 10):
                        await socket.next()
                    client.figures.events += 1
        except Exception:  # noqa: BLE001 - the replica has ended, or there was no change
            await asyncio.sleep(PAUSE_S)


async def run_on_dead_target(client: Client, connection: str, is_over: IsOver) -> None:
    """Each run fails in time, and the connection stays usable for the next."""
    while not is_over():
        values = {
            "connectionId": connection,
            "statement": "SELECT 1",
            "timeoutMs": 5_000,
            "waitMs": 1_000,
            "idempotencyKey": str(uuid4()),
        }
        answer = await client.ask_until_answered(RUN, input=values)
        run = await client.end_of(answer["executeQuery"]["run"])
        assert run["state"] in {"FAILED", "TIMED_OUT", "INTERRUPTED"}, run
        client.figures.failed_runs += 1
        await asyncio.sleep(PAUSE_S)
