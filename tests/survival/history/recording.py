"""Records what clients of three replicas see while faults happen."""

import asyncio
import contextlib
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from tests.fixtures.connected import connected
from tests.fixtures.failover import FailoverPair, Server
from tests.fixtures.identity import PASSWORD
from tests.fixtures.network import Link
from tests.fixtures.served import new_keys
from tests.fixtures.standbys import StandbyGroup
from tests.fixtures.targets import Target, running_target
from tests.survival.history.caller import OUTAGE_S, Caller, Seen
from tests.survival.history.faults import ON_PAIR, ON_STANDBYS, Fault, Group, Kind, plan_faults
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
APPLY_DELAY = "300ms"
STANDBY_READS = 'howdah_standby_queries_total{server="standby"}'


class Plan(NamedTuple):
    operations: int
    users: int
    clients: int
    faults: int
    longest_fault_s: float
    reads_on_standbys: bool = False
    """Clients keep a position. Else all is read on the primary of a pair."""
    forgets: bool = False
    """Clients forget what they have seen: the planted fault."""

    @property
    def kinds(self) -> Sequence[Kind]:
        return ON_STANDBYS if self.reads_on_standbys else ON_PAIR


class Recording(NamedTuple):
    recorder: Recorder
    created: Findings
    """What the table says of the creations."""
    recovered_s: Mapping[Kind, list[float]]
    """Seconds from the end of each fault until every replica had acknowledged a new write."""
    internal_errors: list[str]
    standby_reads: int
    """Queries that began on a standby, as the replicas count that run at the end."""


async def record(plan: Plan, *, folder: Path, seed: int) -> Recording:
    """The seed decides the faults and the requests of each client."""
    dice = random.Random(seed)  # noqa: S311 - dice, not secrets
    faults = plan_faults(
        random.Random(dice.random()),  # noqa: S311
        operations=plan.operations,
        count=plan.faults,
        longest_s=plan.longest_fault_s,
        replicas=REPLICAS,
        kinds=plan.kinds,
    )
    opened = _standby_group(folder) if plan.reads_on_standbys else _group(folder)
    async with opened as group, _workers(plan, group, dice) as (workers, recorder):
        recovered_s = await _work(plan, group, workers, recorder, faults)
        created = await _count_created(group, recorder)
        internal = [error for each in workers for error in each.caller.internal_errors]
        standby_reads = await _count_standby_reads(group) if plan.reads_on_standbys else 0
        return Recording(recorder, created, recovered_s, internal, standby_reads)


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
    async with asyncio.timeout(OUTAGE_S):
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


async def _count_standby_reads(group: Group) -> int:
    total = 0
    for replica in group.replicas:
        assert replica.server is not None
        address = replica.server.address.replace("/graphql", "/metrics")
        lines = (await replica.server.http.get(address)).text.splitlines()
        (count,) = [line.split()[1] for line in lines if line.startswith(STANDBY_READS)]
        total += int(float(count))
    return total


async def _count_created(group: Group, recorder: Recorder) -> Findings:
    async with connected(group.databases.primary.url) as connection:
        rows = await connection.fetch(CREATED)
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
        # Clients of a user are as the tabs of a browser: they share what they have seen.
        positions = [Seen(forgets=plan.forgets) if plan.reads_on_standbys else None for _ in users]
        for number in range(plan.clients):
            user, token = users[number % plan.users]
            own_dice = random.Random(dice.random())  # noqa: S311
            caller = Caller(token, replicas, own_dice, positions[number % plan.users])
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
    async with (
        _outside() as outside,
        FailoverPair.started(outside) as databases,
        _replicas_on(databases, folder) as group,
    ):
        yield group


@contextlib.asynccontextmanager
async def _standby_group(folder: Path) -> AsyncIterator[Group]:
    """Three replicas that read on two standbys, one of which is late by its settings.

    A change is acknowledged when one of the standbys has it, whichever it is.
    """
    async with StandbyGroup.started("fast", "slow") as databases:
        await databases.standbys[1].configure("recovery_min_apply_delay", APPLY_DELAY)
        await databases.primary.wait_for_standbys("ANY 1 (*)")
        pair = FailoverPair(databases.primary, None)
        async with _replicas_on(pair, folder, databases.standbys) as group:
            yield group


@contextlib.asynccontextmanager
async def _replicas_on(
    databases: FailoverPair, folder: Path, readers: Sequence[Server] = ()
) -> AsyncIterator[Group]:
    async with contextlib.AsyncExitStack() as stack:
        outside = await stack.enter_async_context(_outside())
        target = await stack.enter_async_context(running_target(outside, max_connections=200))
        await target.script(TABLE)
        replicas: list[Replica] = []
        links: list[list[Link]] = []
        common = _environment()
        for number in range(REPLICAS):
            own = [
                await stack.enter_async_context(Link.opened("127.0.0.1", server.port))
                for server in (*databases.servers, *readers)
            ]
            ports = [link.port for link in own]
            environment = common | {"HOWDAH_DATABASE_URL": databases.url(ports)}
            if readers:
                urls = map(_through, readers, ports[len(databases.servers) :])
                environment["HOWDAH_READ_DATABASE_URLS"] = ",".join(urls)
            replica = Replica(folder / f"replica{number}", environment)
            stack.push_async_callback(replica.stop)
            replicas.append(replica)
            links.append(own)
        await replicas[0].start()  # alone: it migrates
        await asyncio.gather(*(replica.start() for replica in replicas[1:]))
        yield Group(replicas, links, databases, target, readers)


def _through(server: Server, port: int) -> str:
    """Its URL through a link."""
    return server.url.replace(f":{server.port}/", f":{port}/")


@contextlib.asynccontextmanager
async def _outside() -> AsyncIterator[Path]:
    """Outside of the given folder: the account of PostgreSQL may not enter it under root."""
    with tempfile.TemporaryDirectory(prefix="howdah-history-") as folder:
        yield Path(folder)


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
    of_standbys = f"; {recording.standby_reads} queries on standbys" * bool(recording.standby_reads)
    return f"{len(recording.recorder.history)} operations ({told}); {faults}{of_standbys}"
