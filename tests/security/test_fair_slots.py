"""No few users hold everybody back: slots of runs and uploads, and the operator's caps on time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from starlette.requests import Request
from starlette.types import Message

from db.client_networks import remember_network
from db.errors import BadInput, TimedOut
from db.events import Subscription
from db.kit.base import OwnerId, new_id
from db.runs import RunState
from db.settings import Settings
from db.workbench.execution.scheduler import RunScheduler
from graph.transport.files import uploads
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.runs import Desk


class Backlog:
    """Runs of owners that never end, until they are ended here."""

    def __init__(self) -> None:
        self.queued: dict[OwnerId, int] = {}
        self.running: list[OwnerId] = []
        self.changed = asyncio.Event()
        self.scheduler = RunScheduler(
            self.start_next,
            self.has_queued,
            lambda owner: nullcontext(Subscription(owner.hex)),
            slots=64,
        )

    async def start_next(self, owner: OwnerId) -> bool:
        await asyncio.sleep(0)  # as the database answers
        if not self.queued[owner] or self.running.count(owner) >= 8:
            return False
        self.queued[owner] -= 1
        self.running.append(owner)
        self.changed.set()
        return True

    async def has_queued(self, owner: OwnerId) -> bool:
        return self.queued[owner] > 0

    def submit(self, owner: OwnerId, count: int = 1) -> None:
        self.queued[owner] = self.queued.get(owner, 0) + count
        self.scheduler.wake(owner)

    async def until(self, met: Callable[[], bool]) -> None:
        async with patience():
            while not met():
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def backlog() -> AsyncIterator[Backlog]:
    backlog = Backlog()
    yield backlog
    await backlog.scheduler.close()


async def test_users_with_long_runs_leave_slots_to_the_others(backlog: Backlog) -> None:
    """Eight users with eight sleeping runs each had all 64 slots."""
    sleepers = [OwnerId(new_id()) for _ in range(8)]
    for sleeper in sleepers:
        backlog.submit(sleeper, 100)
    await backlog.until(lambda: len(backlog.running) == 48)
    counts = [backlog.running.count(sleeper) for sleeper in sleepers]
    assert counts == [6] * 8  # fair among themselves
    others = [OwnerId(new_id()) for _ in range(16)]
    for other in others:
        backlog.submit(other)
    await backlog.until(lambda: all(other in backlog.running for other in others))
    late = OwnerId(new_id())
    backlog.submit(late)
    backlog.running.remove(others[0])
    backlog.scheduler.free_slot(others[0])
    await backlog.until(lambda: late in backlog.running)  # before 752 runs that waited longer


async def test_accounts_of_one_network_do_not_get_the_reserved_slots(backlog: Backlog) -> None:
    """Sixty-four accounts with one sleeping run each had all slots."""
    accounts = [OwnerId(new_id()) for _ in range(64)]
    for account in accounts:
        remember_network(account, "192.0.2.1")
        backlog.submit(account)
    await backlog.until(lambda: len(backlog.running) == 48)
    others = [OwnerId(new_id()) for _ in range(16)]
    for number, other in enumerate(others):
        remember_network(other, f"198.51.100.{number}")
        backlog.submit(other)
    await backlog.until(lambda: all(other in backlog.running for other in others))
    assert len(backlog.running) == 64
    for account in backlog.running[:17]:  # each slot that becomes free is used
        backlog.scheduler.free_slot(account)
    del backlog.running[:17]
    await backlog.until(lambda: len(backlog.running) == 48)


async def test_single_user_gets_all_of_their_slots(backlog: Backlog) -> None:
    alone = OwnerId(new_id())
    backlog.submit(alone, 20)
    await backlog.until(lambda: len(backlog.running) == 8)


async def test_uploads_keep_a_share_for_users_without_one() -> None:
    slots = uploads.Uploads().slots
    few = [OwnerId(new_id()) for _ in range(3)]
    for user in few * 4:
        await asyncio.wait_for(slots.acquire(user), PATIENCE_S)
    others = [OwnerId(new_id()) for _ in range(4)]
    for user in others:
        await asyncio.wait_for(slots.acquire(user), PATIENCE_S)
    waiting = [asyncio.create_task(slots.acquire(user)) for user in (*few, new_id())]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    slots.release(few[0])
    await asyncio.wait_for(waiting[-1], PATIENCE_S)  # of the user who holds none
    for task in waiting:
        task.cancel()


async def test_longest_timeout_is_the_operators(desk: Desk) -> None:
    desk.limit(max_timeout_ms=2_000)
    with pytest.raises(BadInput) as refused:
        await desk.start("SELECT 1", timeout_ms=2_001)
    assert refused.value.field == "timeoutMs"
    run = await desk.run("SELECT 1")  # the default, 60 seconds, is above the cap
    assert (run.state, run.timeout_ms) == (RunState.SUCCEEDED, 2_000)


@pytest.mark.parametrize(
    ("bytes_per_second", "seconds", "part"),
    [(1_000, 3_600, "slower than 1000 bytes"), (0, 60, "took longer than 60 seconds")],
)
async def test_slow_upload_ends(
    monkeypatch: pytest.MonkeyPatch, bytes_per_second: int, seconds: int, part: str
) -> None:
    """Of a client that sends 500 bytes a second, without end."""
    clock = 0.0

    async def receive() -> Message:
        nonlocal clock
        clock += 1.0
        return {"type": "http.request", "body": bytes(500), "more_body": True}

    monkeypatch.setattr(uploads, "time", SimpleNamespace(monotonic=lambda: clock))
    settings = Settings(upload_bytes_per_second=bytes_per_second, upload_seconds=seconds)
    gateway = SimpleNamespace(services=SimpleNamespace(settings=settings))
    request = Request({"type": "http", "headers": [], "state": {"gateway": gateway}}, receive)
    with pytest.raises(TimedOut, match=part):
        await _read(request)
    assert clock <= 61


async def _read(request: Request) -> None:
    async for _ in uploads.body_chunks(request):
        pass


async def test_time_of_the_store_is_not_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, sent = 0.0, 0

    async def receive() -> Message:
        nonlocal clock, sent
        clock += 1.0
        sent += 1
        return {"type": "http.request", "body": bytes(2_000), "more_body": sent < 100}

    monkeypatch.setattr(uploads, "time", SimpleNamespace(monotonic=lambda: clock))
    gateway = SimpleNamespace(services=SimpleNamespace(settings=Settings()))
    request = Request({"type": "http", "headers": [], "state": {"gateway": gateway}}, receive)
    async for _ in uploads.body_chunks(request):
        clock += 60
    assert sent == 100
