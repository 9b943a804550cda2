"""Many sessions of several users while replicas are killed; then the table is compared."""

import asyncio
import base64
import contextlib
import random
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from graph.kit.ids import parse_id
from tests.docs.test_docs_runs import SAVE
from tests.fixtures.identity import PASSWORD
from tests.fixtures.targets import CANARY, Target
from tests.survival.soak.actor import HOT_ROWS, Actor, Holders, IsOver, until
from tests.survival.soak.client import Client, Figures
from tests.survival.soak.ledger import Findings, Ledger
from tests.survival.soak.replicas import Replicas

SIGN_UP = "mutation($input: SignUpInput!) { signUp(input: $input) { session { accessToken } } }"
TABLES = f"""DROP TABLE IF EXISTS ledger, hot;
    CREATE TABLE ledger (id uuid); CREATE TABLE hot (id int PRIMARY KEY, n int);
    INSERT INTO hot SELECT i, 0 FROM generate_series(1, {HOT_ROWS}) AS i;
    GRANT ALL ON ledger, hot TO ada"""  # noqa: S608 - a constant
OPEN_SESSIONS = "SELECT count(*) FROM database_sessions WHERE state <> 'CLOSED'"
ACTIVE_RUNS = "SELECT count(*) FROM query_runs WHERE state IN ('QUEUED', 'RUNNING')"
LEFT_S = 30.0


class Plan(NamedTuple):
    seconds: float
    users: int
    sessions: int
    kill_every_s: float
    kills: int


class Report(NamedTuple):
    """What is left after the servers have stopped, and what the table holds."""

    figures: Figures
    ledger: Ledger
    findings: Findings
    backends: int
    open_sessions: int
    active_runs: int


async def soak(plan: Plan, *, database_url: str, target: Target, folder: Path, seed: int) -> Report:
    dice, figures, ledger = random.Random(seed), Figures(), Ledger()  # noqa: S311 - dice, not secrets
    await target.script(TABLES)
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2) as database:
        async with (
            Replicas.started(folder, _environment(database_url), dice) as replicas,
            _clients(plan, replicas, target, dice, figures) as clients,
        ):
            await _work(plan, clients, replicas, ledger, dice, database)
        backends = await _backends_left(target)
        open_sessions = await database.fetchval(OPEN_SESSIONS)
        active_runs = await database.fetchval(ACTIVE_RUNS)
    async with target._as_superuser() as connection:
        rows = await connection.fetch("SELECT id, count(*) FROM ledger GROUP BY id")
    findings = ledger.compare({UUID(str(row[0])): row[1] for row in rows})
    return Report(figures, ledger, findings, backends, open_sessions, active_runs)


def _environment(database_url: str) -> dict[str, str]:
    return {
        "HOWDAH_ENV": "development",
        "HOWDAH_DATABASE_URL": database_url,
        "HOWDAH_SECRET_KEY": secrets.token_urlsafe(48),
        "HOWDAH_CREDENTIAL_KEY": "k1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
        "HOWDAH_ACCESS_TOKEN_SECONDS": "86400",
        "HOWDAH_TARGETS": "private",
    }


@contextlib.asynccontextmanager
async def _clients(
    plan: Plan, replicas: Replicas, target: Target, dice: random.Random, figures: Figures
) -> AsyncIterator[list[tuple[Client, str]]]:
    """The users, each with a saved connection."""
    destination = {
        "name": "Target",
        "host": "localhost",
        "port": target.port,
        "database": "postgres",
        "username": "ada",
        "password": CANARY,
        "savePassword": True,
    }
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for number in range(plan.users):
            _, server = replicas.choose()
            user = {"email": f"u{number}@example.com", "password": PASSWORD, "name": "User"}
            token = (await server.ask(SIGN_UP, input=user))["signUp"]["session"]["accessToken"]
            client = Client(token, replicas, dice, figures)
            stack.push_async_callback(client.close)
            saved = await client.ask(SAVE, input=destination)
            clients.append((client, saved["saveConnection"]["connection"]["id"]))
        yield clients


async def _work(
    plan: Plan,
    clients: list[tuple[Client, str]],
    replicas: Replicas,
    ledger: Ledger,
    dice: random.Random,
    database: Any,
) -> None:
    holders: Holders = {}
    is_over = until(plan.seconds)
    figures = clients[0][0].figures
    async with asyncio.TaskGroup() as tasks:
        for number in range(plan.sessions):
            client, connection = clients[number % len(clients)]
            own_dice = random.Random(dice.random())  # noqa: S311 - dice, not secrets
            actor = Actor(client, connection, replicas, ledger, holders, own_dice)
            tasks.create_task(actor.live(is_over))
        tasks.create_task(_kill(plan, is_over, replicas, holders, figures, database))


async def _kill(
    plan: Plan,
    is_over: IsOver,
    replicas: Replicas,
    holders: Holders,
    figures: Figures,
    database: Any,
) -> None:
    """Kills a replica again and again, and starts it. The last ones stay up for the rescue."""
    async with asyncio.TaskGroup() as measuring:
        for _ in range(plan.kills):
            await asyncio.sleep(plan.kill_every_s)
            if is_over():
                return
            killed = await replicas.kill_one()
            figures.kills += 1
            lost = [parse_id("session", id) for id, at in holders.items() if at == killed]
            measuring.create_task(_measure_rescue(lost, figures, database))
            await replicas.start_again(killed[0])


async def _measure_rescue(lost: list[UUID], figures: Figures, database: Any) -> None:
    began = time.monotonic()
    left = f"{OPEN_SESSIONS} AND id = ANY ($1)"
    async with asyncio.timeout(2 * LEFT_S):
        while await database.fetchval(left, lost):  # noqa: ASYNC110 - another process closes them
            await asyncio.sleep(0.1)
    figures.lost_s.append(time.monotonic() - began)


async def _backends_left(target: Target) -> int:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LEFT_S):
            while await target.guests():  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.1)
    return await target.guests()
