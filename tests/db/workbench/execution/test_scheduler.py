"""Scheduling: owners do not wait for the backlog of others, and a backlog is limited."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from db.connections import Connections
from db.errors import RateLimited
from db.events import Subscription, open_events
from db.kit.base import OwnerId, new_id
from db.objects.store import ObjectStore
from db.postgres.engine import Database
from db.postgres.route.connect import Dropped
from db.postgres.sessions import Session
from db.postgres.statements import compile_statement
from db.runs import RunQueue, RunRow, Runs, RunState
from db.security.vault import Vault
from db.workbench import Reach, Targets, Workbench
from db.workbench.execution import scheduler
from db.workbench.execution.request.run_request import RunLimits, RunRequest
from tests.fixtures.dropped_commits import drop_after_commit
from tests.fixtures.patience import patience
from tests.fixtures.people import add_person
from tests.fixtures.replicas import Gate
from tests.fixtures.runs import Desk, RunServer, serve_runs
from tests.fixtures.targets import Target
from tests.fixtures.workbench import ConnectionSaver

OpenRunner = Callable[..., Any]
LIMITS: dict[str, Any] = {"max_running": 1, "max_active": 10}
_WAITS = compile_statement(
    text("""SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())""")
)


@pytest.fixture
async def open_runner(
    committed: Database, committed_url: str, vault: Vault, result_store: ObjectStore
) -> AsyncIterator[OpenRunner]:
    """Opens runners with limits, all on one database."""
    async with AsyncExitStack() as stack:

        async def opened(**limits: int) -> RunServer:
            events = await open_events(committed_url)
            stack.push_async_callback(events.close)
            workbench = await stack.enter_async_context(
                Workbench.opened(committed, vault, Targets(Reach(private=True)))
            )
            numbers.append(len(numbers))
            return await stack.enter_async_context(
                serve_runs(
                    committed, events, result_store, workbench, process=numbers[-1], **limits
                )
            )

        numbers: list[int] = []
        yield opened


@pytest.fixture
async def sit(committed: Database, vault: Vault, target: Target) -> OpenRunner:
    """A new owner with a connection."""

    async def seated(server: RunServer, name: str) -> Desk:
        owner: OwnerId = await add_person(committed, name)
        connection = await ConnectionSaver(committed, vault, owner, target).save()
        return Desk(server, owner, connection, target)

    return seated


async def test_scheduler_backlog_does_not_delay_other_owner(
    open_runner: OpenRunner, sit: OpenRunner, gate: Gate
) -> None:
    """Ada's backlog exceeds her limit; Bob's run starts although hers wait."""
    runner = await open_runner(max_running=2, process_slots=3)
    ada, bob = await sit(runner, "Ada"), await sit(runner, "Bob")
    hers = [await ada.start(f"SELECT {gate.wait}") for _ in range(20)]
    for run in hers[:2]:
        await ada.until_running(run)
    assert (await bob.run("SELECT 1")).state == RunState.SUCCEEDED
    states = [(await ada.now(run)).state for run in hers]
    assert states == [RunState.RUNNING] * 2 + [RunState.QUEUED] * 18
    await gate.open()
    over = [await ada.end_of(run) for run in hers]
    began = [run.started_at for run in over if run.started_at]
    assert began == sorted(began)  # oldest first


async def test_scheduler_serves_owners_round_robin_when_full(
    open_runner: OpenRunner, sit: OpenRunner, gate: Gate
) -> None:
    """The owner that has waited longest is next, and then goes to the end of the queue."""
    runner = await open_runner(max_running=2, process_slots=2)
    ada, bob = await sit(runner, "Ada"), await sit(runner, "Bob")
    hers = [await ada.start(f"SELECT {gate.wait}") for _ in range(20)]
    for run in hers[:2]:
        await ada.until_running(run)
    his = [await bob.start("SELECT 1") for _ in range(3)]
    assert [run.state for run in his] == [RunState.QUEUED] * 3
    await gate.open()
    began = {
        run.id: (await desk.end_of(run)).started_at
        for desk, runs in ((ada, hers), (bob, his))
        for run in runs
    }
    order = sorted(began, key=lambda run_id: str(began[run_id]))
    places = [order.index(run.id) for run in his]
    assert places[0] <= 4  # two of hers ran, one more waited before him
    assert places[2] <= 10  # and not after all twenty


async def test_submit_is_rate_limited_per_owner(
    open_runner: OpenRunner, sit: OpenRunner, gate: Gate
) -> None:
    runner = await open_runner(max_running=1, max_active=5)
    ada, bob = await sit(runner, "Ada"), await sit(runner, "Bob")
    asked = await asyncio.gather(
        *(ada.start(f"SELECT {gate.wait}") for _ in range(20)), return_exceptions=True
    )
    refused = [one for one in asked if isinstance(one, BaseException)]
    assert len(refused) == 15
    for error in refused:
        assert isinstance(error, RateLimited)
        assert (error.code, bool(error.hint), error.retry_after_s) == ("RATE_LIMITED", True, 1)
    assert (await bob.run("SELECT 1")).state == RunState.SUCCEEDED
    await gate.open()
    for run in asked:
        if not isinstance(run, BaseException):
            assert (await ada.end_of(run)).state == RunState.SUCCEEDED
    assert (await ada.run("SELECT 1")).state == RunState.SUCCEEDED


async def test_max_running_counts_all_replicas(
    open_runner: OpenRunner, sit: OpenRunner, gate: Gate
) -> None:
    runners = [await open_runner(max_running=2) for _ in range(3)]
    ada = await sit(runners[0], "Ada")
    desks = [ada._replace(server=server) for server in runners]
    runs = await asyncio.gather(*(desk.start(f"SELECT {gate.wait}") for desk in desks * 4))
    assert [run.state for run in runs].count(RunState.RUNNING) == 2
    await gate.reached()
    assert [(await ada.now(run)).state for run in runs].count(RunState.RUNNING) == 2
    await gate.open()
    assert {(await ada.end_of(run)).state for run in runs} == {RunState.SUCCEEDED}


async def test_queued_run_fails_when_connection_is_deleted(
    open_runner: OpenRunner, sit: OpenRunner, committed: Database, gate: Gate
) -> None:
    runner = await open_runner(max_running=1)
    ada = await sit(runner, "Ada")
    running = await ada.start(f"SELECT {gate.wait}")
    waiting = await ada.start("SELECT 1")
    await gate.reached()
    await committed.write(lambda session: Connections(session, ada.owner).remove(ada.connection_id))
    await gate.open()
    assert (
        await ada.end_of(running)
    ).state == RunState.SUCCEEDED  # the saver ends it; here nobody did
    over = await ada.end_of(waiting)
    assert over.state == RunState.FAILED
    assert over.parsed_error is not None
    assert "deleted before it began" in over.parsed_error.message


@asynccontextmanager
async def no_changes(owner: OwnerId) -> AsyncIterator[Subscription]:
    """A bus on which no other process tells of a change."""
    yield Subscription(owner.hex)


async def test_scheduler_survives_unexpected_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "POLL_S", 0)
    ada, begun = OwnerId(new_id()), asyncio.Event()
    surprises = [ValueError("one"), ValueError("two")]

    async def begin(_: OwnerId) -> bool:
        if surprises:
            raise surprises.pop()
        begun.set()
        return False

    async def has_queued(_: OwnerId) -> bool:
        return not begun.is_set()

    hers = scheduler.RunScheduler(begin, has_queued, no_changes, slots=1)
    hers.wake(ada)
    async with patience():
        await begun.wait()
    await hers.close()


async def test_run_with_unconfirmed_acceptance_is_executed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection to Howdah's database drops when the commit has happened."""
    drop_after_commit(monkeypatch)
    with pytest.raises(Dropped):
        await desk.start("SELECT 1")
    async with desk.server.database.read() as session:
        (accepted,) = await Runs(session, desk.owner).active()
    assert (await desk.end_of(accepted)).state == RunState.SUCCEEDED
    await desk.runner._executor.close(grace_s=10)  # waits until the connection is reset
    assert not any(desk.runner._scheduler._slots._held.values())


async def test_run_with_unconfirmed_claim_is_executed(
    open_runner: OpenRunner, sit: OpenRunner, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection to Howdah's database drops when the claim was committed."""
    transaction = Database.transaction

    def is_claim(answer: object) -> bool:
        return isinstance(answer, RunRow) and answer.state == RunState.RUNNING

    ada = await sit(await open_runner(max_running=1), "Ada")
    running = await ada.start(f"SELECT {gate.wait}")
    await gate.reached()
    drop_after_commit(monkeypatch, is_claim)  # before the first claim
    waiting = await ada.start("SELECT 1")
    assert waiting.state == RunState.QUEUED
    await gate.open()
    assert (await ada.end_of(running)).state == RunState.SUCCEEDED
    assert (await ada.end_of(waiting)).state == RunState.SUCCEEDED
    assert Database.transaction is transaction  # it did drop


async def test_failures_of_one_owner_hide_none_of_another_in_the_log(
    committed_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in the runs of one owner hides none in those of another."""
    ada, bob = OwnerId(new_id()), OwnerId(new_id())
    has_queued = {ada, bob}

    async def start_next(owner: OwnerId) -> bool:
        if owner in has_queued:
            raise KeyError("broken")
        return False

    async def is_queued(owner: OwnerId) -> bool:
        return owner in has_queued

    @asynccontextmanager
    async def listen(owner: OwnerId) -> AsyncIterator[Subscription]:
        async with events.subscribe(f"runs of {owner}") as changes:
            yield changes

    events = await open_events(committed_url)
    runs = scheduler.RunScheduler(start_next, is_queued, listen, slots=2)
    for owner in (ada, bob):
        runs.wake(owner)
    async with patience():
        while len(caplog.messages) < 2:  # noqa: ASYNC110 - the log has no event
            await asyncio.sleep(0.01)
        has_queued.discard(bob)
        runs.wake(bob)
        while runs.users_waiting > 1:  # noqa: ASYNC110 - nor has the scheduler
            await asyncio.sleep(0.01)
        runs.wake(ada)
        await runs.close()
    await events.close()
    broken = [each.getMessage() for each in caplog.records if each.exc_info]
    assert sorted(broken) == sorted(
        f"cannot start the queued runs of user_{owner.hex}, will retry" for owner in (ada, bob)
    )


async def test_claim_and_late_acceptance_of_an_older_id_keep_to_max_running(
    open_runner: OpenRunner, sit: OpenRunner, committed: Database
) -> None:
    """The IDs of two processes are not in the order in which their runs are accepted."""
    ada: Desk = await sit(await open_runner(), "Ada")
    older, newer = sorted((new_id(), new_id()))

    async def accept(session: Session, run_id: UUID, process: int) -> None:
        connection = await Connections(session, ada.owner).require(ada.connection_id)
        new = RunRequest(ada.connection_id, "SELECT 1").to_new_run(connection, RunLimits())
        queue = RunQueue(session, ada.owner)
        values: dict[str, Any] = {"process": process, "has_slot": False, "backend": None}
        await queue.accept(await queue.lock(), run_id, new, **values, **LIMITS)

    async def claim(session: Session, process: int) -> RunRow | None:
        queue = RunQueue(session, ada.owner)
        return await queue.claim_next(process=process, executing=(), max_running=1)

    async def accept_and_claim() -> RunRow | None:
        await committed.transaction(lambda session: accept(session, older, 2))
        return await committed.transaction(lambda session: claim(session, 2))

    async def claim_slowly(session: Session) -> "asyncio.Task[RunRow | None]":
        assert await claim(session, 1) is not None
        other = asyncio.create_task(accept_and_claim())
        async with patience():
            while not other.done() and not await committed.read().value(_WAITS):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.01)
        return other

    await committed.transaction(lambda session: accept(session, newer, 1))
    other = await committed.transaction(claim_slowly)
    assert await other is None


async def test_run_is_not_accepted_under_the_lock_of_another_transaction(
    open_runner: OpenRunner, sit: OpenRunner, committed: Database
) -> None:
    ada: Desk = await sit(await open_runner(), "Ada")
    earlier = await committed.transaction(lambda session: RunQueue(session, ada.owner).lock())

    async def accept(session: Session) -> None:
        values: dict[str, Any] = {"process": 1, "has_slot": False, "backend": None}
        run: Any = None
        await RunQueue(session, ada.owner).accept(earlier, new_id(), run, **values, **LIMITS)

    with pytest.raises(RuntimeError, match="another transaction"):
        await committed.transaction(accept)
