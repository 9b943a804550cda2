"""A database that stops answering: reads fail soon, and all is well when it answers again."""

import asyncio
import time
from typing import Any, NamedTuple

import psutil

from db.postgres.embedded import processes
from tests.drills.frame import Figure, Plan
from tests.fixtures.patience import patience
from tests.fixtures.served import Served, served

READ = """query($search: String) {
  tasks(first: 10, filter: {search: $search}) { nodes { id } } }"""
WRITE = """mutation($title: String!) {
  createTask(input: {title: $title, idempotencyKey: $title}) { task { id } } }"""
PAUSE_S = 0.25


class Answer(NamedTuple):
    seconds: float
    code: str
    """Of the error, or empty."""


class Freeze(NamedTuple):
    reads: list[Answer]
    recovery_s: float
    is_written_once: bool


async def drill(plan: Plan) -> list[Figure]:
    rounds, in_flight, frozen_s = (1, 5, 3.0) if plan.is_quick else (5, 20, 10.0)
    async with served(plan.folder / "data") as server:
        freezes = [
            await freeze(server, str(number), in_flight=in_flight, frozen_s=frozen_s)
            for number in range(rounds)
        ]
    reads = [read for each in freezes for read in each.reads]
    return [
        Figure("reads with another error than UNAVAILABLE", 0, sum(map(is_wrong, reads))),
        Figure("writes lost or done twice", 0, sum(not each.is_written_once for each in freezes)),
        Figure("slowest read", 3, max(read.seconds for read in reads), "s"),
        Figure("until reads succeed again", 5, max(each.recovery_s for each in freezes), "s"),
    ]


def is_wrong(answer: Answer) -> bool:
    return answer.code not in {"", "UNAVAILABLE"}


async def freeze(server: Served, title: str, *, in_flight: int, frozen_s: float) -> Freeze:
    """Stops the database for a while, under reads and a write."""
    folder = server.data_dir / "postgres"
    reads = [asyncio.create_task(ask(server, READ)) for _ in range(in_flight)]
    write = asyncio.create_task(ask(server, WRITE, title=f"freeze {title}"))
    stopped = [psutil.Process(pid) for pid in processes.find(processes.marker(folder))]
    for process in stopped:
        process.suspend()
    try:
        for _ in range(round(frozen_s / PAUSE_S)):
            reads.append(asyncio.create_task(ask(server, READ)))
            await asyncio.sleep(PAUSE_S)
    finally:
        for process in stopped:
            process.resume()
    began = time.monotonic()
    async with patience():
        await until_answered(server, READ)
        recovery_s = time.monotonic() - began
        await write
        await until_answered(server, WRITE, title=f"freeze {title}")
        found = await server.ask(READ, search=f"freeze {title}")
        answers = await asyncio.gather(*reads)
    return Freeze(answers, recovery_s, len(found["tasks"]["nodes"]) == 1)


async def until_answered(server: Served, query: str, **variables: Any) -> None:
    while code := (await ask(server, query, **variables)).code:
        assert code == "UNAVAILABLE", code
        await asyncio.sleep(0.05)


async def ask(server: Served, query: str, **variables: Any) -> Answer:
    began = time.monotonic()
    body = {"query": query, "variables": variables}
    answer = (await server.http.post(server.address, json=body)).json()
    errors = answer.get("errors", [{"extensions": {"code": ""}}])
    return Answer(time.monotonic() - began, errors[0]["extensions"]["code"])
