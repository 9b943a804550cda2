"""Fencing: what a frozen, a cut-off and a killed replica leave is ended, and they write none of it.

Four replicas share a database. Three are hit at once; the fourth takes over.
"""

import asyncio
import contextlib
import secrets
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from tests.drills.frame import Figure, Plan, opened_stage
from tests.fixtures.network import Link
from tests.fixtures.patience import patience
from tests.fixtures.served import Served
from tests.fixtures.session_desk import SessionDesk, open_session
from tests.fixtures.targets import CANARY, Target

SAVE = """mutation($input: SaveConnectionInput!) {
  saveConnection(input: $input) { connection { id } } }"""
CONNECT = "mutation($input: ConnectInput!) { connect(input: $input) { connection { id } } }"
EXECUTE = """mutation($input: ExecuteQueryInput!) {
  executeQuery(input: $input) { run { id state } } }"""
CANCEL = "mutation($id: ID!) { cancelQuery(input: {id: $id}) { outcome } }"
RUN = """query($id: ID!) {
  queryRun(id: $id) { state revision finishedAt error { message } } }"""
ASLEEP = """SELECT count(*) FROM pg_stat_activity
    WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(600)%' AND query NOT LIKE '%mine%'"""
REASON = "was found dead"
SHORT_MS = 4_000


class Work(NamedTuple):
    """What runs at a replica when it is hit."""

    server: Served
    run: str
    session: SessionDesk


async def save(server: Served, target: Target, *, typed: bool) -> str:
    connection = target.connection(secrets.token_hex(4), savePassword=not typed)
    saved = await server.ask(SAVE, input=connection)
    found = str(saved["saveConnection"]["connection"]["id"])
    if typed:
        await server.ask(CONNECT, input={"id": found, "password": CANARY})
    return found


async def execute(server: Served, connection: str, statement: str, **more: Any) -> Any:
    values = {"connectionId": connection, "statement": statement, **more}
    return (await server.ask(EXECUTE, input=values))["executeQuery"]["run"]


async def begin_work(server: Served, connection: str, number: int) -> Work:
    run = await execute(server, connection, "SELECT pg_sleep(600)", timeoutMs=600_000)
    session = await open_session(server, connection)
    await session.do("BEGIN")
    await session.do("INSERT INTO fenced VALUES ($1)", parameters=[number])
    return Work(server, run["id"], session)


async def seconds_until(met: Callable[[], Awaitable[bool]], since: float) -> float:
    async with patience():
        while not await met():  # noqa: ASYNC110 - other processes send no event
            await asyncio.sleep(0.1)
    return asyncio.get_running_loop().time() - since


async def until_ended(survivor: Served, work: Work) -> None:
    async with patience():
        while (await read(survivor, work.run))["state"] == "RUNNING":  # noqa: ASYNC110 - a process
            await asyncio.sleep(0.1)
        await SessionDesk(survivor, work.session.id).until_closed()


async def read(server: Served, run: str) -> Any:
    return (await server.ask(RUN, id=run))["queryRun"]


async def executes_again(server: Served, connection: str) -> bool:
    with contextlib.suppress(AssertionError, httpx.HTTPError):  # UNAVAILABLE while it is fenced
        run = await execute(server, connection, "SELECT 1", waitMs=5_000)
        return bool(run["state"] == "SUCCEEDED")
    return False


async def drill(plan: Plan) -> list[Figure]:
    async with opened_stage(plan) as stage, contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        own, target = stage.own, stage.target
        await target.script("CREATE TABLE fenced (id int); GRANT ALL ON fenced TO ada")
        host, port = urlsplit(own.url).hostname or "", urlsplit(own.url).port or 0
        link = await enter(Link.opened(host, port))
        through_link = own.url.replace(f":{port}/", f":{link.port}/")
        urls = {"frozen": own.url, "cut-off": through_link, "killed": own.url}
        if plan.is_quick:  # tests/survival kills replicas
            del urls["killed"]
        survivor = await enter(stage.served("survivor", own.url))
        starts = (enter(stage.served(name, url)) for name, url in urls.items())
        victims = await asyncio.gather(*starts)
        return await _hit(plan, survivor, victims, link, target)


async def _hit(
    plan: Plan, survivor: Served, victims: list[Served], link: Link, target: Target
) -> list[Figure]:
    loop = asyncio.get_running_loop()
    frozen, cut_off, *killed = victims
    connection = await save(survivor, target, typed=False)
    typed = await save(survivor, target, typed=True)
    used = (connection, typed, typed)[: len(victims)]
    works = [
        await begin_work(server, one, number)
        for number, (server, one) in enumerate(zip(victims, used, strict=True))
    ]
    kept = await execute(survivor, connection, "SELECT pg_sleep(600) /* mine */", timeoutMs=600_000)
    short = await execute(frozen, connection, "SELECT pg_sleep(600)", timeoutMs=SHORT_MS)
    since = loop.time()
    frozen.signal(signal.SIGSTOP)
    link.cut()
    for server in killed:
        await server.kill("server")

    async def is_over() -> bool:
        return bool((await read(survivor, short["id"]))["state"] == "TIMED_OUT")

    overdue_s = await seconds_until(is_over, since) - SHORT_MS / 1000
    await asyncio.gather(*(until_ended(survivor, work) for work in works))
    taken_s = loop.time() - since
    asked = loop.time()
    assert await executes_again(survivor, connection)
    next_s = loop.time() - asked

    async def is_quiet() -> bool:
        return not await target.administer(ASLEEP)

    gone_s = await seconds_until(is_quiet, since)
    before = [await read(survivor, work.run) for work in works]
    since = loop.time()
    frozen.signal(signal.SIGCONT)
    link.mend()
    again_s = await asyncio.gather(
        *(
            seconds_until(partial(executes_again, one, connection), since)
            for one in (frozen, cut_off)
        )
    )
    after = [await read(survivor, work.run) for work in works]
    logs = [(plan.folder / f"{name}.log").read_text() for name in ("frozen", "cut-off")]
    taken = (await read(survivor, kept["id"]))["state"] != "RUNNING"
    await survivor.ask(CANCEL, id=kept["id"])  # else the survivor waits for it when it stops
    return [
        Figure("a run past its time is ended after", 8, overdue_s, "s"),
        Figure("runs and sessions are taken over after", 20, taken_s, "s"),
        Figure("their statements have ended on the target after", 22, gone_s, "s"),
        Figure("the next run of their user takes", 2, next_s, "s"),
        Figure("a fenced replica executes again after", 10, max(again_s), "s"),
        Figure("runs not INTERRUPTED", 0, sum(run["state"] != "INTERRUPTED" for run in before)),
        Figure(
            "rows of their transactions", 0, await target.administer("SELECT count(*) FROM fenced")
        ),
        Figure("runs written by a fenced replica", 0, sum(map(_differ, before, after))),
        Figure("fenced replicas that do not say why", 0, sum(REASON not in log for log in logs)),
        Figure("runs taken from a live replica", 0, taken),
    ]


def _differ(before: Any, after: Any) -> bool:
    return bool(before != after)
