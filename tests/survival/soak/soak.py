"""Many users while replicas are killed and restarted; then tables and processes are compared."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from graph.kit.ids import parse_id
from tests.fixtures.identity import PASSWORD
from tests.fixtures.ports import free_port
from tests.fixtures.served import new_keys
from tests.fixtures.targets import SAVE, Target
from tests.survival.soak.actor import HOT_ROWS, Actor, Holders, until
from tests.survival.soak.client import Client, Figures
from tests.survival.soak.gauges import Gauges, Sample
from tests.survival.soak.ledger import Findings, Ledger
from tests.survival.soak.neighbours import follow_tasks, keep_tasks, run_on_dead_target
from tests.survival.soak.replicas import Replicas

SIGN_UP = "mutation($input: SignUpInput!) { signUp(input: $input) { session { accessToken } } }"
TABLES = f"""DROP TABLE IF EXISTS ledger, hot;
    CREATE TABLE ledger (id uuid); CREATE TABLE hot (id int PRIMARY KEY, n int);
    INSERT INTO hot SELECT i, 0 FROM generate_series(1, {HOT_ROWS}) AS i;
    GRANT ALL ON ledger, hot TO ada"""  # noqa: S608 - a constant
OPEN_SESSIONS = "SELECT count(*) FROM database_sessions WHERE state <> 'CLOSED'"
ACTIVE_RUNS = "SELECT count(*) FROM query_runs WHERE state IN ('QUEUED', 'RUNNING')"
LEFT_S = 30.0


TASKS = "SELECT title, count(*) FROM tasks GROUP BY title"


class Plan(NamedTuple):
    """The kills and the rolling restart come first; then nothing is disturbed for `calm_s`."""

    calm_s: float
    users: int
    sessions: int
    neighbours: int
    """Clients that keep tasks; also those that follow them, and those of a dead database."""
    kill_every_s: float
    kills: int
    has_rolling_restart: bool = True


class Account(NamedTuple):
    """A user, with a connection to the target and one to a port where nothing listens."""

    client: Client
    connection: str
    dead: str


class Report(NamedTuple):
    """What is left after the servers have stopped, and what the table holds."""

    figures: Figures
    ledger: Ledger
    findings: Findings
    tasks: Findings
    growth: Sample
    samples: list[Sample]
    backends: int
    open_sessions: int
    active_runs: int


async def soak(plan: Plan, *, database_url: str, target: Target, folder: Path, seed: int) -> Report:
    dice, figures = random.Random(seed), Figures()  # noqa: S311 - dice, not secrets
    rows, tasks, gauges = Ledger(), Ledger(), Gauges(folder)
    await target.script(TABLES)
    environment = _environment(database_url) | gauges.environment
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2) as database:
        async with (
            Replicas.started(folder, environment, dice) as replicas,
            _clients(plan, replicas, target, dice, figures) as clients,
        ):
            work = Work(plan, clients, replicas, dice, database, gauges)
            await work.run(rows, tasks)
        backends = await _backends_left(target)
        open_sessions = await database.fetchval(OPEN_SESSIONS)
        active_runs = await database.fetchval(ACTIVE_RUNS)
        created = tasks.compare(_counted(await database.fetch(TASKS)))
    async with target._as_superuser() as connection:
        found = await connection.fetch("SELECT id, count(*) FROM ledger GROUP BY id")
    findings = rows.compare(_counted(found))
    return Report(
        figures=figures,
        ledger=rows,
        findings=findings,
        tasks=created,
        growth=gauges.growth(),
        samples=gauges.samples,
        backends=backends,
        open_sessions=open_sessions,
        active_runs=active_runs,
    )


def _counted(rows: list[asyncpg.Record]) -> dict[UUID, int]:
    return {UUID(str(row[0])): row[1] for row in rows}


def _environment(database_url: str) -> dict[str, str]:
    return {
        "HOWDAH_ENV": "development",
        "HOWDAH_DATABASE_URL": database_url,
        **new_keys(),
        "HOWDAH_ACCESS_TOKEN_SECONDS": "86400",
        "HOWDAH_TARGETS": "private",
    }


@contextlib.asynccontextmanager
async def _clients(
    plan: Plan, replicas: Replicas, target: Target, dice: random.Random, figures: Figures
) -> AsyncIterator[list[Account]]:
    destination = target.connection(savePassword=True)
    dead_port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        accounts = []
        for number in range(plan.users):
            _, server = replicas.choose()
            user = {"email": f"u{number}@example.com", "password": PASSWORD, "name": "User"}
            token = (await server.ask(SIGN_UP, input=user))["signUp"]["session"]["accessToken"]
            client = Client(token, replicas, dice, figures)
            stack.push_async_callback(client.close)
            saved = [
                await client.ask(SAVE, input=destination | changes)
                for changes in ({}, {"name": "Dead", "port": dead_port})
            ]
            ids = (each["saveConnection"]["connection"]["id"] for each in saved)
            accounts.append(Account(client, *ids))
        yield accounts


class Work:
    """All clients, and what disturbs them."""

    def __init__(
        self,
        plan: Plan,
        clients: list[Account],
        replicas: Replicas,
        dice: random.Random,
        database: Any,
        gauges: Gauges,
    ) -> None:
        self._plan = plan
        self._accounts = clients
        self._replicas = replicas
        self._dice = dice
        self._database = database
        self._gauges = gauges
        self._holders: Holders = {}
        self._figures = clients[0].client.figures
        self._is_over = False

    def is_over(self) -> bool:
        return self._is_over

    async def run(self, rows: Ledger, tasks: Ledger) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._plan.sessions):
                client, connection, _ = self._accounts[number % len(self._accounts)]
                actor = Actor(
                    client, connection, self._replicas, rows, self._holders, self._new_dice()
                )
                group.create_task(actor.live(self.is_over))
            for number in range(self._plan.neighbours):
                client, _, dead = self._accounts[number % len(self._accounts)]
                group.create_task(keep_tasks(client, tasks, self._new_dice(), self.is_over))
                group.create_task(follow_tasks(client, self._replicas, self.is_over))
                group.create_task(run_on_dead_target(client, dead, self.is_over))
            await self._kill()
            if self._plan.has_rolling_restart:
                await self._restart_all()
            await self._gauges.watch(self._replicas, until(self._plan.calm_s))
            self._is_over = True

    def _new_dice(self) -> random.Random:
        return random.Random(self._dice.random())  # noqa: S311 - dice, not secrets

    async def _kill(self) -> None:
        """Kills a replica again and again, and starts it."""
        async with asyncio.TaskGroup() as measuring:
            for _ in range(self._plan.kills):
                await asyncio.sleep(self._plan.kill_every_s)
                killed = await self._replicas.kill_one()
                self._figures.kills += 1
                lost = [parse_id("session", id) for id, at in self._holders.items() if at == killed]
                measuring.create_task(_measure_rescue(lost, self._figures, self._database))
                await self._replicas.start_again(killed[0])

    async def _restart_all(self) -> None:
        """A rolling restart, by SIGTERM: one after the other."""
        for place in self._replicas.places:
            await place.stop()
            await place.start()
            self._figures.restarts += 1


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
