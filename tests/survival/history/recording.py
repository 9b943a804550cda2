"""Records what clients of three replicas see while faults happen."""

import asyncio
import contextlib
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import asyncpg

from tests.fixtures.failover import FailoverPair
from tests.fixtures.identity import PASSWORD
from tests.fixtures.network import Link
from tests.fixtures.served import new_keys
from tests.fixtures.targets import Target, running_target
from tests.survival.history.caller import OUTAGE_S, Caller
from tests.survival.history.faults import Fault, Group, Kind, plan_faults
from tests.survival.history.scripts import TABLE, TargetLists
from tests.survival.history.workload import Recorder, User, Worker
from tests.survival.soak.ledger import Findings
from tests.survival.soak.replicas import Replica, Replicas

SAVE = """mutation($input: SaveConnectionInput!) {
  saveConnection(input: $input) { connection { id } } }"""
SIGN_UP = "mutation($input: SignUpInput!) { signUp(input: $input) { session { accessToken } } }"
REPLICAS = 3
CREATED = "SELECT title, count(*) FROM tasks WHERE title ~ '^[0-9a-f-]{36}$' GROUP BY title"
TICK_S = 0.02


class Plan(NamedTuple):
    operations: int
    users: int
    clients: int
    faults: int
    longest_fault_s: float


class Recording(NamedTuple):
    recorder: Recorder
    created: Findings
    """What the table says of the creations."""
    recovered_s: Mapping[Kind, list[float]]
    """Seconds from the end of each fault until every replica had acknowledged a new write."""
    internal_errors: list[str]


async def record(plan: Plan, *, folder: Path, seed: int) -> Recording:
    """The seed decides the faults and the requests of each client."""
    dice = random.Random(seed)  # noqa: S311 - dice, not secrets
    faults = plan_faults(
        random.Random(dice.random()),  # noqa: S311
        operations=plan.operations,
        count=plan.faults,
        longest_s=plan.longest_fault_s,
        replicas=REPLICAS,
    )
    async with _group(folder) as group, _workers(plan, group, dice) as (workers, recorder):
        recovered_s = await _work(plan, group, workers, recorder, faults)
        created = await _count_created(group, recorder)
        internal = [error for each in workers for error in each.caller.internal_errors]
        return Recording(recorder, created, recovered_s, internal)


async def _work(
    plan: Plan, group: Group, workers: list[Worker], recorder: Recorder, faults: list[Fault]
) -> Mapping[Kind, list[float]]:
    """Ends after the operations and all faults. Then every task is read once more."""
    is_calm = False
    recovered_s: dict[Kind, list[float]] = defaultdict(list)

    def is_over() -> bool:
        return is_calm and len(recorder.history) >= plan.operations

    async with asyncio.TaskGroup() as tasks:
        for worker in workers:
            tasks.create_task(worker.work(is_over))
        for fault in faults:
            while len(recorder.history) < fault.after:  # noqa: ASYNC110 - clients tell nobody
                await asyncio.sleep(TICK_S)
            await group.suffer(fault)
            recovered_s[fault.kind].append(await _recover(group, recorder))
        is_calm = True
    for worker in workers:
        await worker.read_all()
    return recovered_s


async def _recover(group: Group, recorder: Recorder) -> float:
    """The seconds until every replica has acknowledged a write that was sent after now."""
    ended = time.monotonic()
    async with asyncio.timeout(OUTAGE_S):
        while any(recorder.wrote.get(each, 0.0) <= ended for each in group.replicas):  # noqa: ASYNC110
            await asyncio.sleep(TICK_S)
    return time.monotonic() - ended


async def _count_created(group: Group, recorder: Recorder) -> Findings:
    connection = await asyncpg.connect(group.databases.primary.url)
    try:
        rows = await connection.fetch(CREATED)
    finally:
        await connection.close()
    return recorder.created.compare({UUID(row[0]): row[1] for row in rows})


@contextlib.asynccontextmanager
async def _workers(
    plan: Plan, group: Group, dice: random.Random
) -> AsyncIterator[tuple[list[Worker], Recorder]]:
    recorder = Recorder()
    replicas = Replicas(group.replicas, dice)
    async with contextlib.AsyncExitStack() as stack:
        workers, users = [], []
        for number in range(plan.users):
            _, server = replicas.choose()
            account = {"email": f"h{number}@example.com", "password": PASSWORD, "name": "User"}
            answer = await server.ask(SIGN_UP, input=account)
            token = answer["signUp"]["session"]["accessToken"]
            connection = await _save_connection(Caller(token, replicas, dice), group.target)
            users.append((User(TargetLists(number, connection)), token))
        for number in range(plan.clients):
            user, token = users[number % plan.users]
            own_dice = random.Random(dice.random())  # noqa: S311
            caller = Caller(token, replicas, own_dice)
            stack.push_async_callback(caller.close)
            workers.append(Worker(number, user, caller, recorder))
        yield workers, recorder


async def _save_connection(caller: Caller, target: Target) -> str:
    destination = target.connection(savePassword=True)
    saved = await caller.ask_until_done(SAVE, input=destination)
    await caller.close()
    return str(saved["saveConnection"]["connection"]["id"])


@contextlib.asynccontextmanager
async def _group(folder: Path) -> AsyncIterator[Group]:
    """Three replicas on a database with a standby, which they know by a URL with two hosts."""
    async with contextlib.AsyncExitStack() as stack:
        # Outside of the given folder: the account of PostgreSQL may not enter it under root.
        outside = [
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="howdah-history-")))
            for _ in range(2)
        ]
        databases = await stack.enter_async_context(FailoverPair.started(outside[0]))
        target = await stack.enter_async_context(running_target(outside[1], max_connections=200))
        await target.script(TABLE)
        replicas: list[Replica] = []
        links: list[list[Link]] = []
        common = _environment()
        for number in range(REPLICAS):
            own = [
                await stack.enter_async_context(Link.opened("127.0.0.1", server.port))
                for server in databases.servers
            ]
            environment = common | {"HOWDAH_DATABASE_URL": databases.url([x.port for x in own])}
            replica = Replica(folder / f"replica{number}", environment)
            stack.push_async_callback(replica.stop)
            replicas.append(replica)
            links.append(own)
        await replicas[0].start()  # alone: it migrates
        await asyncio.gather(*(replica.start() for replica in replicas[1:]))
        yield Group(replicas, links, databases, target)


def _environment() -> dict[str, str]:
    return {
        "HOWDAH_ENV": "development",
        **new_keys(),
        "HOWDAH_ACCESS_TOKEN_SECONDS": "86400",
        "HOWDAH_TARGETS": "private",
    }


def summary(recording: Recording) -> str:
    outcomes = Counter(each.outcome.name.lower() for each in recording.recorder.history)
    faults = ", ".join(f"{len(times)} {kind}" for kind, times in recording.recovered_s.items())
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    return f"{len(recording.recorder.history)} operations ({told}); {faults}"
